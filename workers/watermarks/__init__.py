"""Watermarks: notes in the bucket that say up to when its objects are complete. Knows no HTTP."""
