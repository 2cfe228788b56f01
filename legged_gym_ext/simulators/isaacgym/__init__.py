"""NVIDIA Isaac Gym: its physics in a process and a Python of its own (worker.py), everything else in ours."""
