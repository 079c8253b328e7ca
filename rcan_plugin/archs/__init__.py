"""Networks: one file each, pure torch modules, usable without BasicSR."""
