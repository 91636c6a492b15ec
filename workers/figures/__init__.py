"""What running processes show of themselves, in files of the spool. Knows no HTTP, S3 or thread."""
