"""The chaos runs: the real service, under load, damaged at random for some seconds, then judged.

A run is a function of its `Terms` that returns its `Figures`, under `@chaos_run(NAME)`, in a module
of this folder: `python -m tests.chaos` finds it by itself.
"""

import importlib
import pkgutil
from collections.abc import Mapping

from tests.chaos.harness.figures import RUNS, Run


def all_runs() -> Mapping[str, Run]:
    """Import every module of this folder; return the runs by their names."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return RUNS
