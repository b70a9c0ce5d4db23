"""What is wrong with these resources although a cluster accepts them, and what to write instead.

``base`` says what a finding is, ``registry`` lists the rules; the other modules hold them by
subject. ``shapes`` reads from a query's syntax tree how many elements it can have.
"""

from stoker.checks.base import Finding, Severity
from stoker.checks.registry import RULES, check

__all__ = ["RULES", "Finding", "Severity", "check"]
