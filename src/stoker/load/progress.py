"""A line on stderr while a run is under way."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from stoker.load.runner import Progress


class Bar:
    """How many requests were answered, of how many that were sent; gone when the run is over."""

    def __init__(self, total: int | None) -> None:
        self._bar = RichProgress(
            TimeElapsedColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("connecting", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """The numbers now."""
        failed = f", {progress.failed} failed" if progress.failed else ""
        self._bar.update(
            self._task,
            completed=progress.ok + progress.failed,
            description=(
                f"{progress.sent} sent, {progress.ok} ok{failed}, {progress.in_flight} open, "
                f"{progress.output_tokens} tokens"
            ),
        )
