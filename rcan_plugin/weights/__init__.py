"""Files of weights: reading them safely, finding the state dict, comparing it with a network (pure torch)."""
