"""How a process of the model ends in the midst of things."""


class Died(BaseException):
    """The process ends here. No `except Exception` may catch it."""


class Fuse:
    """Ends a process in the midst of its work: each step burns a piece, and the last one raises."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        """Take one step.

        Raises:
            Died: it was the last.
        """
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.left = None
                raise Died
