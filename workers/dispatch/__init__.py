"""Jobs to workers: the bounded queue, the pool of channels, parked jobs. Knows no S3, no disk."""
