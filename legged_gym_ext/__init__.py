"""Legged robots that learn parkour from a depth camera: teacher (PPO) and student (DAgger) in one run."""

__version__ = "0.1.0"
