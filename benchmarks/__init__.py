"""Measurements: ``python -m benchmarks``. Every ratio is of two figures of the same run."""

import legged_gym_ext  # noqa: F401  # before torch: it says how threads wait
