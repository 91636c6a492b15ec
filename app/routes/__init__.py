"""Flask blueprints, and what every request passes through. Knows no server."""
