"""Functions that the documents show: tests run what readers copy."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[3] / "docs"


def documented(page: str, name: str) -> Any:
    """Return a function that a block of Python of a page defines."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    [code] = [block for block in blocks if f"def {name}(" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    return names[name]
