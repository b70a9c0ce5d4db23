"""What a ScaledObject would have done with recorded metrics: the pure core in virtual time.

:mod:`.metrics` holds what the triggers are answered, :mod:`.reading` and :mod:`.server` get it from
files and from a Prometheus, :mod:`.run` walks through time, :mod:`.summary` counts.
"""

from stoker.backtest.metrics import Metrics
from stoker.backtest.run import Plan, ticks
from stoker.backtest.summary import Summary, Tally

__all__ = ["Metrics", "Plan", "Summary", "Tally", "ticks"]
