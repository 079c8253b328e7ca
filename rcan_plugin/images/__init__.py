"""Images on disk: where they are, how they are decoded, which HR and LR images form pairs. Needs no torch."""
