"""All errors that a user can see, in one tree.

* StokerError                   something that can be told in one sentence, with a hint
  x InputError                  what the user wrote is wrong: a file, a flag, a query
    + InputErrors               several of them, told together
    + QueryError                PromQL that cannot be parsed or evaluated
  x ConflictError               understood, but cannot be met: a taken port, a busy state directory
  x MachineError                what this machine lacks: a program, a GPU, space on the disk
  x NotFoundError               no object of that name

Commands print them as ``error: ...``, the place, and ``hint: ...``, and exit with 2.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a user's file something stands. Lines and columns count from 1; None is unknown."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.file]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


class StokerError(Exception):
    """Something that can be told in one sentence, with the way out as ``hint`` if there is one."""

    def __init__(
        self, message: str, *, hint: str | None = None, place: Place | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class InputError(StokerError):
    """What the user wrote is wrong."""


class InputErrors(InputError):  # noqa: N818 - the plural is the point
    """Several input errors, told together and in the order of their places."""

    def __init__(self, errors: list[InputError]) -> None:
        super().__init__(f"{len(errors)} errors" if len(errors) != 1 else "1 error")
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class QueryError(InputError):
    """PromQL that cannot be parsed or evaluated. ``position`` counts characters from 0."""

    def __init__(
        self, message: str, *, query: str = "", position: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.query = query
        self.position = position


class ConflictError(StokerError):
    """The request is understood and cannot be met as things are."""


class MachineError(StokerError):
    """What this machine lacks."""


class NotFoundError(StokerError):
    """No object of that name."""
