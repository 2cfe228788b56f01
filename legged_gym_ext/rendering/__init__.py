"""Pictures of a run: video files and live viewers, the same for every physics engine."""

VIEWERS = ("auto", "none", "native", "web")
"""What ``--viewer`` can choose; auto is a native window where there is a display."""
