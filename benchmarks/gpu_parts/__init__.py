"""The parts of `benchmarks/gpu.py`: rows, their measurement in worker processes, and the report."""
