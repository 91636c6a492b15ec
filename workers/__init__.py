"""The pipeline: segments, the job queue, the dispatcher, the workers, the spool, S3. Knows no Flask."""
