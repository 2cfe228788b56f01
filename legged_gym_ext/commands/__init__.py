"""The commands: what `train.py`, `play.py` and `evaluate.py` run, and `legged-gym-<name>` where installed."""
