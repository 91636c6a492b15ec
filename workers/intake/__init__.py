"""The way into the queue: payloads into segments, segments and backlog to jobs. Knows no S3."""
