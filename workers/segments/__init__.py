"""A segment: its name and key, its state, the future of its durability. Data; no disk, no S3."""
