"""The log of a training: what is recorded, and where it goes. That it cannot be written ends no training."""
