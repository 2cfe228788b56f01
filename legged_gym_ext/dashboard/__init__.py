"""What of a training's log is looked at, and where: one layout, for Weights & Biases and for TensorBoard."""
