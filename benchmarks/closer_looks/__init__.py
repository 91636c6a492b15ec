"""Closer looks at this service: latency, overload, one setting at a time, memory over time."""
