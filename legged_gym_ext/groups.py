"""Names of the observation groups, for the environment that fills them and the networks that read them.

A further group, each of ``observations.others``, has the name of its term.
"""

PROPRIO = "proprio"
"""Proprioception, (num_envs, 43)."""
DEPTH = "depth"
"""The flattened depth image, (num_envs, rows * columns)."""
NEW_FRAME = "new_frame"
"""Whether the depth image is a new camera frame, (num_envs, 1)."""
SCAN = "scan"
"""The height scan ("scandots"), (num_envs, points)."""
PRIVILEGED = "privileged"
"""What only the critic knows, (num_envs, P)."""
