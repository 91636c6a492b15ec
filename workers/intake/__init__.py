"""Admission: payloads into open segments, full or old segments into jobs. Knows no disk and no S3."""
