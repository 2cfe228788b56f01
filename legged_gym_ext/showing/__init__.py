"""What a training shows besides scalars: pictures, tables, histograms, and films made beside it."""
