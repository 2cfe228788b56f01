"""Train a task: python train.py --task=parkour_depth [--flag VALUE ...] [section.key=value ...]."""

from legged_gym_ext.commands.train import main
from legged_gym_ext.config.cli import main_guard

if __name__ == "__main__":
    main_guard(main)
