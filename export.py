"""Export a trained student for a robot: python export.py --load_run [RUN] [--checkpoint N] [--out DIR]."""

from legged_gym_ext.commands.export import main
from legged_gym_ext.config.cli import main_guard

if __name__ == "__main__":
    main_guard(main)
