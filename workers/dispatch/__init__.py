"""Jobs to workers: the bounded queue, the pool of channels, retries. Knows no S3 and no disk."""
