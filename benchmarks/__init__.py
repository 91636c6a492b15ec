"""Measures this service beside the designs that failed; `python -m benchmarks`."""
