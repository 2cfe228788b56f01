"""What all tests share: one thread (two workers do not fight over the cores), the same random numbers each time, and a
double in the place of Isaac Gym."""

import os
import signal
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import gym_python  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from legged_gym_ext import paths  # noqa: E402
from legged_gym_ext.runs.settle import seed_everything  # noqa: E402

torch.set_num_threads(1)
os.environ.update(ISAACGYM_PYTHON=gym_python.GYM_PYTHON, ISAACGYM_PATH=str(gym_python.DOUBLES))


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a background job of a shell. What tests start would inherit it, and Ctrl-C is among what is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Seed Python's, NumPy's and torch's global generators before each test."""
    seed_everything(0)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "LOGS", tmp_path / "logs")
    return tmp_path / "logs"


def pytest_report_header() -> str:
    return gym_python.describe()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))
