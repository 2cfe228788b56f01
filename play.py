"""Measure, watch and film a trained run: python play.py --load_run [RUN] [--terrain KIND] [--level N] [--video]."""

from legged_gym_ext.commands.play import main
from legged_gym_ext.config.cli import main_guard

if __name__ == "__main__":
    main_guard(main)
