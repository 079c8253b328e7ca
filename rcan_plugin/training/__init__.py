"""Training in pure torch, usable without BasicSR: the step and its parts, optimizers, schedules, checkpoints."""
