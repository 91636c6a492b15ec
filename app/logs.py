"""JSON logs, one line an event, with the request's id in each line that a request caused.

Never a payload, a token or a credential: log what a thing is called, not what it holds.
"""

import logging
import random
import re
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def take_request_id(sent: str | None) -> str:
    """Use the id that a client sent if it is safe to repeat, else make one; return it."""
    # Not a secret, only unlike any other: a system call for each would cost more than the rest.
    chosen = sent if sent and _SAFE_ID.fullmatch(sent) else random.randbytes(16).hex()
    request_id.set(chosen)
    return chosen


class AddRequestId(logging.Filter):
    """Puts the current request's id on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id; keep every record."""
        current = request_id.get()
        if current is not None:
            record.request_id = current
        return True


def logging_config(level: str) -> dict[str, Any]:
    """Return a `logging.config.dictConfig` for the whole process, gunicorn's own lines included."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": AddRequestId}},
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": "%(levelname)s %(name)s %(process)d %(threadName)s %(message)s",
                "rename_fields": {
                    "levelname": "level",
                    "name": "logger",
                    "threadName": "thread",
                    "message": "event",
                },
                "timestamp": True,
            }
        },
        "handlers": {
            "stderr": {
                "class": "app.log_writer.LineHandler",
                "formatter": "json",
                "filters": ["request_id"],
            }
        },
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": level.upper(), "handlers": [], "propagate": True},
            # A line per request would cost more than the request; refusals have lines of their own.
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
            # botocore logs whole requests at debug: credentials and payloads.
            "botocore": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            # The engine numbers its workers from 1 in every process.
            "_granian": {"level": "WARNING"},
        },
    }
