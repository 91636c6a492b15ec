"""Stores on engines that machines share: Redis (or Valkey). Knows no HTTP, no S3 and no disk."""
