"""What the simulated disk holds: files and directories, each with what was last synced."""

from collections.abc import Callable, Iterator


class File:
    """A file's content: every state since the last sync, that one first, the present one last."""

    __slots__ = ("lies", "states")

    def __init__(self) -> None:
        self.states = [b""]
        # A sync has failed: the pages are marked clean, so that later ones succeed for nothing
        # (https://wiki.postgresql.org/wiki/Fsync_Errors).
        self.lies = False

    @property
    def content(self) -> bytes:
        return self.states[-1]

    def write(self, content: bytes) -> None:
        self.states.append(content)

    def sync(self) -> None:
        if not self.lies:
            self.states = [self.content]


class Directory:
    """A directory's names now, those at the last sync, and each change between the two."""

    __slots__ = ("changes", "names", "synced")

    def __init__(self) -> None:
        self.names: Names = {}
        self.synced: Names = {}
        self.changes: list[Change] = []

    def change(self, change: "Change") -> None:
        change(self.names)
        self.changes.append(change)

    def sync(self) -> None:
        self.synced = dict(self.names)
        self.changes = []


Node = File | Directory
Names = dict[str, Node]
Change = Callable[[Names], None]


def add_name(name: str, node: Node) -> Change:
    """Return the change that adds a name."""

    def change(names: Names) -> None:
        names[name] = node

    return change


def remove_name(name: str) -> Change:
    """Return the change that removes a name, if it is there."""

    def change(names: Names) -> None:
        names.pop(name, None)

    return change


def move_name(old: str, new: str) -> Change:
    """Return the change that renames within a directory."""

    def change(names: Names) -> None:
        # The file of that name may itself be among what the cut took.
        if old in names:
            names[new] = names.pop(old)

    return change


def directories_of(directory: Directory) -> Iterator[Directory]:
    """Yield a directory and all below it."""
    yield directory
    for node in directory.names.values():
        if isinstance(node, Directory):
            yield from directories_of(node)


def files_of(directory: Directory) -> Iterator[File]:
    """Yield every file in a directory and below it."""
    for each in directories_of(directory):
        yield from (node for node in each.names.values() if isinstance(node, File))
