"""Clients that send an idempotency key, and retry until they are answered, through every fault."""
