"""The default engine: Granian's HTTP server inside a gunicorn worker."""
