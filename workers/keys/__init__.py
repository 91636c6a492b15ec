"""Idempotency keys: which are in use, and what was answered to those that are accepted.

A key is accepted by the sync of its payloads, as each of its runs in a segment file has its record.
Key logs keep the records when the segment files have gone. Knows files, no HTTP and no S3.
"""
