"""Stoker keeps LLM engines fed: autoscaling of LLM inference, on one machine first.

The way of data is the way of the package. A metric sample becomes the answer of a query, a trigger
value, a recommendation, a decision, and at last replicas: ``metrics``, ``promql``, ``triggers``,
``recommenders``, ``scaling``, ``targets``. :mod:`stoker.controller` goes that way once and returns
a :class:`stoker.tick.Tick` that tells what happened at each step.
"""

__version__ = "0.1.0.dev0"
