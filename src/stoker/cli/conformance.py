"""`stoker conformance`: recorded decisions of the real controllers, run through the core."""

from __future__ import annotations

from pathlib import Path

import click

from stoker.cli.console import EXIT_NO


@click.command(short_help="Compare the core with recorded decisions of the real KEDA and HPA.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR", required=False)
def conformance(*, folder: Path | None) -> int:
    """Run every recording below DIR through the core, and tell what differs.

    One line a file: name, cases that agree, cases. Ends with 1 when a single one does not. Without
    DIR it runs ../shared/data where that exists, else tests/data/recordings.
    """
    from stoker.backtest.conformance import recordings, report, run_file  # noqa: PLC0415

    folder = folder or _default()
    passed = total = files = skipped = 0
    for path in recordings(folder):
        result = run_file(path, str(path.relative_to(folder)))
        print(report(result), flush=True)
        files += result.skipped is None
        skipped += result.skipped is not None
        passed, total = passed + result.passed, total + result.total
    left_out = f", {skipped} skipped" if skipped else ""
    print(f"{passed} of {total} cases in {files} files decide as recorded{left_out}")
    return 0 if passed == total else EXIT_NO


def _default() -> Path:
    shared = Path("../shared/data")
    return shared if shared.is_dir() else Path("tests/data/recordings")
