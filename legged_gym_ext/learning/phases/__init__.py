"""The phases of learning, one file each."""
