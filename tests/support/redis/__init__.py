"""A real Redis or Valkey server for tests."""
