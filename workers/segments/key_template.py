"""The key template: where in the bucket a segment's object goes, from its stream, name and values.

Fields of the payload (`{payload.a.b}`, `{event_date}`, `{event_hour}`) have a value for each
payload: payloads with other values go to another partition, which has segments of its own. Knows no
payload.
"""

import re
import string
from dataclasses import dataclass
from typing import Final, TypeAlias

from workers.segments.naming import MAX_KEY_BYTES, RESERVED, segment_name

# The longest text of each field, in bytes; any other field is a member of the payload.
FIELDS: Final = {
    "stream": 64,
    "date": len("2026-01-01"),
    "hour": len("00"),
    "segment": len(segment_name(0)),
    "event_date": len("2026-01-01"),
    "event_hour": len("00"),
}
# A value of a payload, escaped.
MAX_VALUE_BYTES: Final = 128
# In this order.
EVENT_FIELDS: Final = ("event_date", "event_hour")
PAYLOAD: Final = "payload."
# The names of members, from the outermost on.
Path: TypeAlias = tuple[str, ...]
# What neither a format nor msgspec has in a name.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NO_MEMBER: Final = re.compile(r'["\\\[\]\x00-\x1f]')


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A template that was checked; `pieces` are its literals, each with the field behind it.

    `fields` are those whose values differ by payload, each once.
    """

    pieces: tuple[tuple[str, str | None], ...]
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, template: str) -> "KeyTemplate":
        """Check a template; blocks on nothing.

        Raises:
            ValueError: it names an unknown field, lacks `{segment}`, or makes a key that S3 or this
                service would refuse.
        """
        if _CONTROL.search(template):
            raise ValueError("keys have no control characters")
        parts = list(string.Formatter().parse(template))
        names = [name for _, name, _, _ in parts if name is not None]
        for name in names:
            _check_field(name)
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise ValueError("fields take no format or conversion, only {name}")
        if "segment" not in names:
            raise ValueError("it needs {segment}, or one object would overwrite another")
        fields = [name for name in dict.fromkeys(names) if is_of_payload(name)]
        made = cls(tuple((literal, name) for literal, name, _, _ in parts), tuple(fields))
        made._check_length()
        made._check_beginning()
        return made

    def key(self, partition: str, name: str) -> str:
        """Return the key of the segment `name` of a partition.

        Date and hour (UTC) are those in the name, so they never move.
        """
        stream, *values = partition.split("/")
        day, hour = name[:8], name[9:11]
        found = dict(zip(self.fields, values, strict=True)) if values else {}
        found |= {"stream": stream, "hour": hour, "segment": name}
        found["date"] = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        return "".join(
            [literal if field is None else literal + found[field] for literal, field in self.pieces]
        )

    def paths(self) -> list[Path]:
        """Return the paths of the payload's members that are fields."""
        return [path_of(name) for name in self.fields if name.startswith(PAYLOAD)]

    def _check_length(self) -> None:
        longest = sum(
            len(literal.encode()) + (FIELDS.get(field, MAX_VALUE_BYTES) if field else 0)
            for literal, field in self.pieces
        )
        if longest > MAX_KEY_BYTES or self.pieces[0][0].startswith("/"):
            raise ValueError(
                f"keys are at most {MAX_KEY_BYTES} bytes and do not begin with '/'; the longest "
                f"has {longest}"
            )

    def _check_beginning(self) -> None:
        """See that no key can be under a prefix that is the service's own."""
        literal, field = self.pieces[0]
        if not literal and field in self.fields:
            raise ValueError("it begins with a literal or {stream}, not with what a payload says")
        first = []
        for before, name in self.pieces:
            within, slash, _ = before.partition("/")
            first.append((within, None if slash else name))
            if slash:
                break
        pattern = "".join(re.escape(text) + _pattern(name) for text, name in first)
        if first != [("", "stream"), ("", None)] and any(
            map(re.compile(pattern).fullmatch, RESERVED)
        ):
            raise ValueError(f"keys may not be under {' or '.join(sorted(RESERVED))}")


def is_of_payload(name: str) -> bool:
    """Whether the field's value differs by payload."""
    return name in EVENT_FIELDS or name.startswith(PAYLOAD)


def path_of(name: str) -> Path:
    """Return the path of a field such as `payload.a.b`."""
    return tuple(name.removeprefix(PAYLOAD).split("."))


def pointer_path(pointer: str) -> Path:
    """Return the path that a JSON pointer (RFC 6901) names, through objects only.

    Raises:
        ValueError: it is no pointer to a member of an object.
    """
    tokens = pointer.split("/")
    if tokens[0] or len(tokens) == 1 or re.search("~(?![01])", pointer):
        raise ValueError("it is no JSON pointer to a member of a payload, such as /created_at")
    if _NO_MEMBER.search(pointer):
        raise ValueError("names with quotes, backslashes, brackets or control characters do not go")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens[1:])


def _pattern(name: str | None) -> str:
    """Return a pattern of the field's values, as far as a reserved name may be one."""
    if name is None:
        return ""
    return ".+" if name == "stream" or name.startswith(PAYLOAD) else r"\d.*"


def _check_field(name: str) -> None:
    if name in FIELDS:
        return
    if not name.startswith(PAYLOAD):
        raise ValueError(f"unknown field {[name]}; there are {[*FIELDS, 'payload.…']}")
    if "" in path_of(name) or _NO_MEMBER.search(name):
        raise ValueError(f"{{{name}}} is no member of a payload: names, with a dot between them")
