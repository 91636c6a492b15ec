"""The HTTP contract as an OpenAPI document. Knows no Flask, no server and no pipeline."""
