"""A policy on a robot: what a robot's driver has to provide, the control loop, and a robot over UDP to try both with.

Nothing here needs torch or the training code; see docs/deploy.md.
"""
