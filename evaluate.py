"""Evaluate a trained run on the benchmark parkour-v1: python evaluate.py --load_run [RUN ...] [--quick]."""

from legged_gym_ext.commands.evaluate import main
from legged_gym_ext.config.cli import main_guard

if __name__ == "__main__":
    main_guard(main)
