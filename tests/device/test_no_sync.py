"""The guard against waiting for a GPU sees what it is there for, and lets everything else pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from no_sync import NoSync

X = torch.arange(6.0)
MASK = X > 2


def assign(rows: torch.Tensor) -> None:
    X.clone()[rows] = 1.0


@pytest.mark.parametrize(
    "wait",
    [
        lambda: X.sum().item(),
        lambda: float(X[0]),
        lambda: bool(MASK.any()),
        lambda: 1 if MASK.all() else 0,
        lambda: torch.equal(X, X),
        lambda: MASK.nonzero(),
        lambda: torch.where(MASK),
        lambda: X[MASK],
        lambda: assign(MASK),
        lambda: X.masked_select(MASK),
        lambda: X.unique(),
        lambda: torch.tensor([1.0, 2.0]),
        lambda: X.to("meta"),
        lambda: X.tolist(),
        lambda: X.numpy(),
        lambda: torch.from_numpy(X.numpy()),
    ],
)
def test_what_waits_is_refused(wait: Callable[[], object]) -> None:
    with pytest.raises(AssertionError), NoSync():
        wait()
    wait()


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.where(MASK, X, 0.0),
        lambda: X.clone().masked_fill_(MASK, 1.0),
        lambda: X[torch.arange(3)],
        lambda: assign(torch.arange(3)),
        lambda: X[1:4] + 1,
        lambda: X.clone()[1:3].fill_(2.0),
        lambda: torch.zeros(3) + torch.full((3,), 2.0),
        lambda: torch.rand(3, generator=torch.Generator()),
        lambda: X.gather(0, torch.arange(2)),
        lambda: X.clamp(max=3).mean(),
    ],
)
def test_what_does_not_wait_passes(work: Callable[[], object]) -> None:
    with NoSync():
        work()
