"""Starts what is measured and what stands in for S3; knows nothing of the load or the tables."""
