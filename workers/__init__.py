"""The pipeline: segments, job queue, dispatcher, workers, spool, S3. Knows no Flask."""
