"""Numbers and tables as a terminal shows them, and the files of a result; measures nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def show(value: float | None) -> str:
    """Write a number with three significant digits; a dash for none."""
    if value is None:
        return "-"
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}" if value < 1 else f"{value:.2f}"


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay texts out in columns: the first and the last to the left, the others to the right."""
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if 0 < at < len(heads) - 1 else text.ljust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def title(text: str) -> str:
    """Underline a heading."""
    return f"{text}\n{'=' * len(text)}"


def head(about: Mapping[str, object]) -> str:
    """Write the conditions of a run, a line each."""
    return "\n".join(f"{name}: {value}" for name, value in about.items())


def save(directory: Path, texts: Mapping[str, str]) -> None:
    """Write files, by name, and print their paths."""
    for name, text in texts.items():
        (directory / name).write_text(text)
        print(f"saved {directory / name}")
