"""The commands: what `train.py` and `play.py` run, and `legged-gym-train` and `legged-gym-play` where installed."""
