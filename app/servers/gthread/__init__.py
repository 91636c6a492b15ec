"""The fallback engine: gunicorn's threaded worker with deadlines."""
