"""List, compare and prune runs: ``python -m legged_gym_ext.runs [list|compare|prune|plot|slim]``."""

from legged_gym_ext.commands.runs import command

if __name__ == "__main__":
    command()
