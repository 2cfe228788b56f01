"""Running all units of an evaluation, by one process or by several, and keeping what is finished."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from legged_gym_ext.config.schema import Config
from legged_gym_ext.device import memory
from legged_gym_ext.evaluation.episodes import TRUE, Episodes, Unit
from legged_gym_ext.evaluation.plan import Plan
from legged_gym_ext.evaluation.store import Store
from legged_gym_ext.evaluation.trial import Policy, benchmark_env, run_unit
from legged_gym_ext.processes.collectives import all_gather
from legged_gym_ext.processes.join import from_rank_zero
from legged_gym_ext.processes.ranks import here
from legged_gym_ext.runs.settle import with_rank_threads

if TYPE_CHECKING:
    from legged_gym_ext.tasks import EnvFactory


class Session:
    """Runs units; environments are made when a setting begins.

    Args:
        plan: What is evaluated.
        config: The run's own configuration, settled.
        make_env: Makes the task's environments.
        policies: By name.
        device: Of the policies.
    """

    def __init__(
        self,
        plan: Plan,
        config: Config,
        make_env: EnvFactory,
        policies: Mapping[str, Policy],
        device: torch.device,
    ) -> None:
        self._plan, self._config, self._make_env = plan, config, make_env
        self._policies, self._device = policies, device

    def run(self, units: Sequence[Unit], store: Store | None = None, done: int = 0) -> dict[Unit, Episodes]:
        """Run units and return their episodes; every rank runs its part, and the first keeps what is finished.

        Args:
            units: All that are to be run.
            store: Where finished units are kept; None = nowhere.
            done: How many units of the evaluation are done already, for the report of progress.
        """
        results: dict[Unit, Episodes] = {}
        ranks, started = here(), time.monotonic()
        setting, env = "", None
        with ExitStack() as stack:
            for first in range(0, len(units), ranks.size):
                own = units[first + ranks.rank] if first + ranks.rank < len(units) else None
                episodes = None
                if own is not None:
                    if env is None or own.setting != setting:
                        env = None  # two at once may not fit
                        stack.close()
                        config = with_rank_threads(self._plan.config(self._config, own.setting))
                        with memory.guard(config.env.num_envs):
                            env = stack.enter_context(benchmark_env(self._make_env, config))
                        setting = own.setting
                    episodes = run_unit(env, self._policies[own.policy], own, self._device)
                finished = [pair for pair in all_gather((own, episodes)) if pair[1] is not None]
                for unit, table in finished:
                    assert unit is not None and table is not None
                    results[unit] = table
                    if ranks.rank == 0 and store is not None:
                        store.write(unit, table)
                        left = (time.monotonic() - started) / len(results) * (len(units) - len(results))
                        _report(unit, table, done + len(results), done + len(units), left)
        return results


def evaluate(
    plan: Plan,
    config: Config,
    make_env: EnvFactory,
    policies: Mapping[str, Policy],
    units: Sequence[Unit],
    store: Store,
    device: torch.device,
    resume: bool,
) -> dict[Unit, Episodes]:
    """Return the episodes of all ``units``; with ``resume``, those that are finished are read from the store."""

    def finished() -> dict[Unit, Episodes]:
        store.open()
        return {unit: store.read(unit) for unit in units if resume and store.has(unit)}

    kept = from_rank_zero(finished)
    if kept and here().rank == 0:
        print(f"finished   {len(kept)} of {len(units)} parts, by an earlier call", flush=True)
    missing = [unit for unit in units if unit not in kept]
    try:
        results = Session(plan, config, make_env, policies, device).run(missing, store, len(kept))
    except KeyboardInterrupt:
        if here().rank == 0:
            done = sum(store.has(unit) for unit in missing) + len(kept)
            print(f"{done} of {len(units)} parts are finished and kept; --resume goes on from there", flush=True)
        raise
    return {unit: {**kept, **results}[unit] for unit in units}


def _report(unit: Unit, episodes: Episodes, done: int, all_units: int, seconds_left: float) -> None:
    left = timedelta(seconds=round(seconds_left))
    sight = "" if unit.sight == TRUE else f", {unit.sight} view"
    what = f"{unit.setting}, {unit.policy}{sight}, level {unit.level}"
    print(f"[{done}/{all_units}] {what}: success {episodes.success.mean():.0%}   time left {left}", flush=True)
