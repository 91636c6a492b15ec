"""A job to S3: compression, PUT, verification. Knows no queue and no thread."""
