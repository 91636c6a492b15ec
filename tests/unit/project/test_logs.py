"""The log: one JSON object a line, the request's id in each, and nothing that must not be there."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest

from app.logs import AddRequestId, logging_config, request_id, take_request_id


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Configure logging as the service does, into a buffer; put it back afterwards."""
    names = ["", "gunicorn.error", "gunicorn.access", "botocore", "urllib3"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.level, each.handlers[:], each.propagate) for each in loggers]
    written = io.StringIO()
    config = logging_config("debug")
    config["handlers"]["stderr"] |= {"class": "logging.StreamHandler", "stream": written}
    logging.config.dictConfig(config)
    yield written
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    """Leave no request's id behind."""
    token = request_id.set(None)
    yield
    request_id.reset(token)


def events(log: io.StringIO) -> list[dict[str, Any]]:
    """Read the log: every line is a JSON object."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_a_line_an_event(log: io.StringIO) -> None:
    """Level, logger, thread and time are in it, and what the event adds."""
    logging.getLogger("workers.x").info("stored %d", 3, extra={"payloads": 3})
    [event] = events(log)
    assert event["event"] == "stored 3"
    assert (event["level"], event["logger"], event["payloads"]) == ("INFO", "workers.x", 3)
    assert {"thread", "process", "timestamp"} <= event.keys()
    assert "request_id" not in event


def test_a_traceback_is_in_its_line(log: io.StringIO) -> None:
    """An exception with all its lines, and a message with a newline, are still one line."""
    try:
        int("first\nsecond")
    except ValueError:
        logging.getLogger("workers.x").exception("went\nwrong")
    [event] = events(log)
    assert event["event"] == "went\nwrong"
    assert "Traceback" in event["exc_info"]
    assert "ValueError" in event["exc_info"]


def test_a_request_s_lines_have_its_id(log: io.StringIO) -> None:
    """From whichever logger, a line that a request caused says which request."""
    take_request_id("abc")
    logging.getLogger("app.x").info("refused")
    logging.getLogger("gunicorn.error").info("closing")
    request_id.set(None)
    logging.getLogger("app.x").info("idle")
    assert [event.get("request_id") for event in events(log)] == ["abc", "abc", None]


@pytest.mark.parametrize("name", ["botocore.auth", "urllib3.connectionpool", "gunicorn.access"])
def test_others_say_too_much(log: io.StringIO, name: str) -> None:
    """Debug lines of others hold credentials and payloads; a line a request costs too much."""
    logging.getLogger(name).debug("Authorization: secret")
    logging.getLogger(name).info("a request")
    assert events(log) == []


@pytest.mark.parametrize("sent", ["a", "A-z_0.9:/+=-", "x" * 128])
def test_a_client_s_id_is_taken(sent: str) -> None:
    """An id that is safe to repeat is used as it is."""
    assert take_request_id(sent) == sent == request_id.get()


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", 'a"b', "a\nb", "ä", "a\n"])
def test_an_id_that_is_not_safe_is_replaced(sent: str | None) -> None:
    """What could break a header or a log line is not repeated: an id is made instead."""
    made = take_request_id(sent)
    assert made != sent
    assert made == request_id.get()
    assert len(made) == 32
    assert take_request_id(sent) != made


def test_the_filter_keeps_every_record() -> None:
    """It adds, and drops nothing."""
    record = logging.makeLogRecord({})
    assert AddRequestId().filter(record)
    assert not hasattr(record, "request_id")
    take_request_id("abc")
    assert AddRequestId().filter(record)
    assert vars(record)["request_id"] == "abc"
