"""Pictures of a run: video files and live viewers, the same for every physics engine."""

NONE, WEB = "none", "web"
VIEWERS = ("auto", NONE, "native", WEB)
"""What ``--viewer`` can choose; auto is a native window where there is a display."""
TRAINING_VIEWERS = (NONE, WEB)
"""What it can choose in a training: a window would wait for the training, and the training for the window."""
