"""Aligned text by the rules of Go's text/tabwriter, which kubectl prints with.

A column is as wide as its widest cell in the lines around it that have that column too. The last
cell of a line is never padded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def tabulate(lines: Iterable[str], *, padding: int = 2) -> str:
    """Lines with tab stops become lines with spaces, each ended by a newline."""
    rows = [line.split("\t") for line in lines]
    widths = [[0] * (len(row) - 1) for row in rows]
    for column in range(max((len(row) - 1 for row in rows), default=0)):
        start = 0
        while start < len(rows):
            end = start
            while end < len(rows) and len(rows[end]) - 1 > column:
                end += 1
            width = max((len(rows[i][column]) for i in range(start, end)), default=0) + padding
            for i in range(start, end):
                widths[i][column] = width
            start = max(end, start + 1)
    return "".join(_line(row, width) for row, width in zip(rows, widths, strict=True))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
    return "".join(padded) + row[-1] + "\n"


class TablePrinter:
    """Rows of a table that comes in parts, as `get` and `get --watch` print it.

    A part is as wide as it needs to be and never narrower than the parts before, so the columns of
    a watch jump to the right when a longer cell comes; kubectl's do.
    """

    def __init__(self) -> None:
        self._widths: list[int] = []

    def rows(self, rows: Sequence[Sequence[str]]) -> str:
        """The next part."""
        for row in rows:
            self._widths += [6] * (len(row) - len(self._widths))
            for column, cell in enumerate(row):
                self._widths[column] = max(self._widths[column], len(cell) + 3)
        return "".join(_line(row, self._widths[: len(row) - 1]) for row in rows)
