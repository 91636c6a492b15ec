"""Where segments are until S3 has them: the interface `Store`, its local ones, the committer."""
