"""The bottom of the house: the few exceptions that carry a message and a hint to whoever typed the command."""


class CkptkitError(Exception):
    """Bad input or wrong use, told in one line.

    Args:
        message: what is wrong, naming the value or the path.
        hint: what to type or change next; empty where nothing general can be said.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class NotFoundError(CkptkitError):
    """Raised when a well-formed reference names nothing that exists; the answer is "no"."""

    exit_code = 1


class FormatError(CkptkitError):
    """Raised when the bytes of a file are not what their format says.

    Args:
        message: what is wrong, with the dotted path of the value where there is one.
        hint: how to mend it.
        line: 1-based line in the file, where known.
        column: 1-based column in the file, where known.
    """

    def __init__(self, message: str, hint: str = "", *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message, hint)
        self.line = line
        self.column = column


class NewerFormatError(FormatError):
    """Raised when a file says it is of a format newer than this release can read."""
