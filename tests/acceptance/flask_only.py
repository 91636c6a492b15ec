"""The application as Flask serves it, without the hot route before it."""

from app.servers.wsgi import FastPathMiddleware
from wsgi import app

assert isinstance(app.wsgi_app, FastPathMiddleware)
app.wsgi_app = app.wsgi_app.application  # type: ignore[method-assign, assignment]
