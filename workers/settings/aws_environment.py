"""Mistakes in boto3's own variables, as far as they show without asking AWS.

boto3 would name each at the first request, one at a time; some it would keep to itself. Values are
not repeated: an endpoint may hold a password.
"""

import configparser
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
KEY_PAIR = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
CHOICES = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": ("when_supported", "when_required"),
    "AWS_RESPONSE_CHECKSUM_VALIDATION": ("when_supported", "when_required"),
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": ("legacy", "regional"),
    "AWS_STS_REGIONAL_ENDPOINTS": ("legacy", "regional"),
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": ("preferred", "disabled", "required"),
    "AWS_DEFAULTS_MODE": ("legacy", "auto", "standard", "in-region", "cross-region", "mobile"),
}

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*\.?|[0-9a-fA-F:]+")
# The rule of botocore's `validate_region_name`.
_REGION = re.compile(r"(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


def mistakes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong in the variables themselves, by their names. Does not block."""
    given, blank = _sort(environ)
    return dict([*_places(given), *_credentials(given), *_choices(given, blank)])


def missing_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Return which variables name what is not on the disk now. Blocks on boto3's files.

    Only a start may end for it: files come, go and are rewritten while a service runs.
    """
    return dict(_missing(*_sort(environ)))


def _sort(environ: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
    """Return the variables that have a value, and the names of those that are blank."""
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    return given, environ.keys() - given.keys()


def _missing(given: Mapping[str, str], blank: set[str]) -> Iterator[tuple[str, str]]:
    if "AWS_CA_BUNDLE" in given and not Path(given["AWS_CA_BUNDLE"]).exists():
        yield "AWS_CA_BUNDLE", "there is no such file"
    for name in PROFILES:
        if name in blank or (name in given and given[name] not in _profiles(given)):
            yield name, "there is no such profile in boto3's config and credentials files"


def _places(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in ENDPOINTS:
        if name in given and not _is_endpoint(given[name]):
            yield name, "is no URL such as http://127.0.0.1:9000 or https://s3.example.com"
    for name in REGIONS:
        if name in given and not _REGION.fullmatch(given[name]):
            yield name, "is not a region's name (letters, digits and hyphens)"


def _credentials(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, other in (KEY_PAIR, KEY_PAIR[::-1]):
        if name in given and other not in given:
            yield other, f"must be set where {name} is"


def _choices(given: Mapping[str, str], blank: set[str]) -> Iterator[tuple[str, str]]:
    for name, choices in CHOICES.items():
        if name in blank or (name in given and given[name].lower() not in choices):
            yield name, f"must be unset or one of: {', '.join(choices)}"


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Such as a port that is no number.
        return False
    host = _HOST.fullmatch(parts.hostname or "")
    return parts.scheme in {"http", "https"} and host is not None and port != 0


def _profiles(environ: Mapping[str, str]) -> set[str]:
    """Return the profiles of both files, as botocore names them; none of a file it cannot read."""
    found = set()
    for variable, default in (
        ("AWS_CONFIG_FILE", "~/.aws/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ):
        parser = configparser.RawConfigParser(default_section="")
        try:
            parser.read(Path(environ.get(variable, default)).expanduser())
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        sections = parser.sections()
        found |= set(map(_profile, sections) if variable == "AWS_CONFIG_FILE" else sections)
    return found


def _profile(section: str) -> str:
    """Return the profile that a section of the config file is, or `` if it is none."""
    try:
        words = shlex.split(section)
    except ValueError:
        return ""
    if section == "default":
        return section
    return words[1] if words[:1] == ["profile"] and len(words) == 2 else ""
