"""Parts of a training step and checkpoints, in pure torch; usable without BasicSR."""
