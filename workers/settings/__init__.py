"""Every setting, from the environment, checked before a port opens. Knows no HTTP and no S3."""
