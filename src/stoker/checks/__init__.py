"""What is wrong with these resources although a cluster accepts them, and what to write instead.

``base`` says what a finding is, ``registry`` lists the rules; the other modules hold them by
subject. ``shapes`` reads from a query's syntax tree how many elements it can have, ``comments``
what the user wants not to hear, ``edits`` mends the text, and ``pages/`` tells each rule at length.
"""

from stoker.checks.base import Finding, Severity, Versions
from stoker.checks.examining import Selection, examine
from stoker.checks.live import Source
from stoker.checks.registry import BUNDLE_RULES, RULES, check, codes

__all__ = [
    "BUNDLE_RULES",
    "RULES",
    "Finding",
    "Selection",
    "Severity",
    "Source",
    "Versions",
    "check",
    "codes",
    "examine",
]
