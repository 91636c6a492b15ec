"""The command line: the main table, or one of the closer looks. All on loopback, all bounded.

Compare a run with itself only: figures of two machines, or of two runs, do not compare.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from benchmarks.closer_looks import latency, overload, soak, sweep
from benchmarks.comparison import table
from benchmarks.harness.environment import OUT
from benchmarks.pairs import command as pairs
from benchmarks.stages import command as stages

# Each has `add_arguments` and `run`.
COMMANDS: dict[str, ModuleType] = {
    "table": table,
    "pairs": pairs,
    "latency": latency,
    "overload": overload,
    "sweep": sweep,
    "soak": soak,
    "stages": stages,
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; without a command, `table` runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        about = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("--out", type=Path, default=OUT, help="directory of the results")
        module.add_arguments(command)
    bare = not arguments or arguments[0] not in (*COMMANDS, "-h", "--help")
    return parser.parse_args(["table", *arguments] if bare else arguments)


def main() -> None:
    """Run the command."""
    options = parse(sys.argv[1:])
    COMMANDS[options.command].run(options)


if __name__ == "__main__":
    main()
