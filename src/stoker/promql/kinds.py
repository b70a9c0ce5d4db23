"""What kind of value a node of a query yields."""

from __future__ import annotations

from typing import Final

from stoker.promql.ast import Binary, Call, Negation, Node, Number, Range, Subquery, Text, ValueType
from stoker.promql.functions import SCALAR_FUNCTIONS

KINDS: Final[dict[str, str]] = {
    "scalar": "scalar",
    "vector": "instant vector",
    "matrix": "range vector",
    "string": "string",
}


def value_type(node: Node) -> ValueType:  # noqa: PLR0911 - one case a kind of node
    """What kind of value a node yields."""
    match node:
        case Number():
            return "scalar"
        case Text():
            return "string"
        case Range() | Subquery():
            return "matrix"
        case Call():
            return "scalar" if node.function in SCALAR_FUNCTIONS else "vector"
        case Negation():
            return value_type(node.expr)
        case Binary():
            kinds = {value_type(node.lhs), value_type(node.rhs)}
            return "scalar" if kinds == {"scalar"} else "vector"
        case _:
            return "vector"
