"""Problem documents: what a refused client reads."""

import json
from typing import Any

import pytest

from app.http.problems import (
    MAX_COUNTED,
    MAX_DETAIL,
    MAX_FAULTS,
    MAX_POINTER,
    BadRequest,
    Corrupt,
    Fault,
    NotJson,
    Problem,
    TooLarge,
    Unavailable,
    UnsupportedType,
    WrongShape,
    pointer,
)


def document(problem: Problem) -> dict[str, Any]:
    """Return what a client reads."""
    parsed: dict[str, Any] = json.loads(problem.body())
    return parsed


@pytest.mark.parametrize(
    ("kind", "status", "title"),
    [
        (BadRequest, 400, "Bad Request"),
        (NotJson, 400, "Bad Request"),
        (Corrupt, 400, "Bad Request"),
        (TooLarge, 413, "Content Too Large"),
        (UnsupportedType, 415, "Unsupported Media Type"),
        (WrongShape, 422, "Unprocessable Content"),
        (Problem, 500, "Internal Server Error"),
    ],
)
def test_each_kind_has_its_status_and_title(kind: type[Problem], status: int, title: str) -> None:
    """Every kind answers its status, under the title RFC 9110 gives it."""
    assert document(kind("Because.")) == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": "Because.",
    }


def test_any_status_can_be_a_problem() -> None:
    """A problem without a class of its own takes its title from the status."""
    problem = Problem("No such page.", status=404, headers={"X-A": "b"})
    assert (problem.status, problem.title) == (404, "Not Found")
    assert problem.headers == {"X-A": "b"}


def test_faults_are_listed() -> None:
    """Each fault is shown with its pointer."""
    problem = WrongShape("Bad.", errors=[Fault("/payloads/3", "Must be an object.")])
    assert document(problem)["errors"] == [
        {"pointer": "/payloads/3", "detail": "Must be an object."}
    ]


def test_as_many_faults_as_are_listed_need_no_summary() -> None:
    """The detail stays as it is while every fault is listed."""
    problem = WrongShape("Bad.", errors=[Fault("/0", "x")] * MAX_FAULTS)
    assert problem.detail == "Bad."
    assert len(document(problem)["errors"]) == MAX_FAULTS


def test_more_faults_are_counted() -> None:
    """Beyond the list the detail says how many faults there are."""
    problem = WrongShape("Bad.", errors=[Fault("/0", "x")] * (MAX_FAULTS + 1))
    assert problem.detail == "Bad. There are 101 faults; the first 100 are listed."
    assert len(document(problem)["errors"]) == MAX_FAULTS


def test_endless_faults_end() -> None:
    """Counting stops somewhere, and looks at no more faults than that."""
    looked_at = 0

    def endless() -> Any:
        nonlocal looked_at
        while True:
            looked_at += 1
            yield Fault("/0", "x")

    problem = WrongShape("Bad.", errors=endless())
    assert problem.detail.startswith("Bad. There are 10000 or more faults")
    assert looked_at == MAX_COUNTED


def test_long_names_and_messages_are_cut() -> None:
    """Neither a client's member name nor a schema's message can blow the answer up."""
    error = document(WrongShape("Bad.", errors=[Fault("/" + "n" * 9999, "d" * 9999)]))["errors"][0]
    assert len(error["pointer"]) == MAX_POINTER
    assert len(error["detail"]) == MAX_DETAIL
    assert error["pointer"].endswith("…")


def test_any_text_can_be_answered() -> None:
    """What is no valid Unicode in a detail still makes a JSON document."""
    assert document(Problem("\ud800"))["detail"] == "\ud800"


@pytest.mark.parametrize(("asked", "sent"), [(7, "7"), (0, "1"), (-3, "1")])
def test_unavailable_always_says_when(asked: int, sent: str) -> None:
    """A 503 has Retry-After, of at least one second."""
    problem = Unavailable("Full.", retry_after=asked)
    assert problem.status == 503
    assert problem.headers == {"Retry-After": sent}


def test_pointers_are_escaped() -> None:
    """Pointers follow RFC 6901: `~` is `~0`, `/` is `~1`, and the whole document is empty."""
    assert pointer() == ""
    assert pointer("payloads", 3, "a/b~c") == "/payloads/3/a~1b~0c"
