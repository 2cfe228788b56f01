"""What makes a device fast, and what does not fit on it: memory, masks, graphs, threads, precision."""
