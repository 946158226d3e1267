"""The parts of `benchmarks/run.py` and `benchmarks/peers.py`."""
