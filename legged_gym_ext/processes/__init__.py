"""Several processes that act as one: ranks, what they say to each other, and how they end."""
