"""``python -m legged_gym_ext.deploy FOLDER --check``: what a folder's own policy_runtime.py does."""

import sys

from legged_gym_ext.deploy.runtime import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "-m legged_gym_ext.deploy"))
