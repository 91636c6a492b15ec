"""Admission: payloads into open segments, full or old segments to jobs. Knows no S3."""
