"""What running processes show of themselves, in the spool or a queue. Knows no HTTP and no S3."""
