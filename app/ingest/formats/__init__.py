"""Bodies into payload lines: JSON, NDJSON, events, forms. Knows no server, no key, no Flask."""
