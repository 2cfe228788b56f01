"""A training run on disk and in words: what auto means, its folder, checkpoints, curves."""
