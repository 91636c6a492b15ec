"""What runs under gunicorn: the workers that read HTTP, and their signals. Knows no payloads."""
