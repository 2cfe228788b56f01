"""Training: PPO for the teacher, DAgger and PPO for the student, and the runner that interleaves them."""

import os

# rsl_rl's logger imports GitPython, which fails at import on a machine without git unless it is told to be quiet.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
