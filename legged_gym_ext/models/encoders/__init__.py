"""Depth encoders, one file each."""
