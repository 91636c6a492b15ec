"""Segments on the local disk: files, frames, counters, recovery. Knows no HTTP and no S3."""
