"""deploy/local.py: the settings of a service with the embedded S3, and what is printed."""

import json
import shlex

import pytest

from deploy.local import exit_code, greeting, local_environment


def test_nothing_of_a_real_account_or_a_proxy_reaches_the_embedded_s3() -> None:
    """Credentials, profile, endpoint and proxy of the person's own are all replaced or gone."""
    mine = {
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ACCESS_KEY_ID": "real",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_ENDPOINT_URL_S3": "https://s3.example.com",
        "http_proxy": "http://proxy.example.com",
        "HTTP_PROXY": "http://proxy.example.com",
    }

    environment = local_environment(mine)

    assert environment["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:9000"
    assert (
        environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
    )
    assert not [name for name, value in environment.items() if mine.get(name) == value]


def test_settings_of_the_person_are_kept_and_blank_ones_are_unset() -> None:
    """`MAX_QUEUE=5` and an age of one's own go through; `PORT=` means the default."""
    environment = local_environment({"MAX_QUEUE": "5", "OBJECT_MAX_AGE_SECONDS": "3", "PORT": ""})

    assert environment["MAX_QUEUE"] == "5"
    assert environment["OBJECT_MAX_AGE_SECONDS"] == "3"
    assert environment["PORT"] == "8080"


@pytest.mark.parametrize("name", ["PORT", "S3_PORT"])
@pytest.mark.parametrize("value", ["http", "65536", "-1"])
def test_what_is_no_port_is_said_so_by_name(name: str, value: str) -> None:
    """The launcher ends with a sentence that names the setting and what it was."""
    with pytest.raises(SystemExit, match=rf"{name} .*{value}"):
        local_environment({name: value})


def test_the_greeting_is_seven_lines_with_a_curl_that_posts_a_collection() -> None:
    """The pasted line is one shell command whose body is a collection with one payload."""
    lines = greeting(local_environment({"PORT": "8123"})).splitlines()

    assert len(lines) == 7
    words = shlex.split(lines[2])
    assert words[1:3] == ["curl", "http://127.0.0.1:8123/payloads"]
    assert json.loads(words[words.index("-d") + 1]) == {"payloads": [{"hello": "world"}]}
    assert "X-API-Key: $KEY" not in words
    assert "X-API-Key: $KEY" in greeting(local_environment({"ACCESS_FILE": "a.toml"}))


def test_the_greeting_says_how_to_look_wherever_s3_is() -> None:
    """`make show` alone would ask at the default port."""
    assert "make show  " in greeting(local_environment({}))
    assert "make show S3_PORT=9001  " in greeting(local_environment({"S3_PORT": "9001"}))


def test_the_greeting_says_how_to_watch_another_spool() -> None:
    """`flask top` reads the spool: without its name it would say that no process runs."""
    assert "ARGS=top\n" in greeting(local_environment({}))
    assert "ARGS=top SPOOL_DIR='a b'\n" in greeting(local_environment({"SPOOL_DIR": "a b"}))


def test_a_killed_child_counts_as_a_shell_counts_it() -> None:
    """Popen says -9; a shell expects 137."""
    assert [exit_code(0), exit_code(3), exit_code(-9)] == [0, 3, 137]
