"""Pictures of a run: video files and live viewers, the same for every physics engine."""
