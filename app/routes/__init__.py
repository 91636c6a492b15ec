"""Flask blueprints, one module per route. Knows no server."""
