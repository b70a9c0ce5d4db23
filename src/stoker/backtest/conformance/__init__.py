"""Recorded decisions of the real KEDA and HPA, run through the core and compared.

The formats are those of docs/reference/conformance.md. :mod:`.files` finds and runs recordings;
the other modules each know one kind.
"""

from stoker.backtest.conformance.files import FileResult, recordings, report, run_file

__all__ = ["FileResult", "recordings", "report", "run_file"]
