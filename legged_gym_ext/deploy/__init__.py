"""From a trained student to a folder that a robot runs, and what runs it."""
