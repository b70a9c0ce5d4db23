"""What triggers are told: their own queries on the scraped series.

Most looks find what the last one found: an idle queue is 0 for hours. A query that depends on
nothing but the newest value of each series is therefore evaluated once for each set of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stoker.backtest.metrics import answer_of
from stoker.metrics.sample import STALE_BITS
from stoker.metrics.series import to_ms
from stoker.metrics.storage import LOOKBACK, Selection, Storage
from stoker.promql.ast import Aggregate, Binary, Call, Negation, Node, Number, Selector, Text
from stoker.promql.ast import selectors as selectors_of
from stoker.promql.engine import instant
from stoker.promql.parsing import parse
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import QueryAnswer, QueryFunction

# Functions whose result follows from the values of their arguments alone.
_TIMELESS: Final = frozenset(
    {"abs", "ceil", "clamp", "clamp_max", "clamp_min", "exp", "floor", "ln", "log10", "log2"}
    | {"round", "scalar", "sgn", "sqrt", "vector"}
)
_LOOKBACK_MS = to_ms(LOOKBACK)
_MOST = 4096  # answers that are kept of one query


def is_timeless(node: Node) -> bool:  # noqa: PLR0911 - one a kind of node
    """Whether the answer follows from the newest value of each series that *node* selects."""
    match node:
        case Number() | Text():
            return True
        case Selector():
            return node.at is None and node.offset_ms == 0
        case Negation():
            return is_timeless(node.expr)
        case Aggregate():
            return is_timeless(node.expr) and (node.param is None or is_timeless(node.param))
        case Binary():
            return is_timeless(node.lhs) and is_timeless(node.rhs)
        case Call(function, args):
            return function in _TIMELESS and all(map(is_timeless, args))
        case _:
            return False


class Answers:
    """Answers for all prometheus triggers of a run."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def series(self) -> int:
        """How many series there are."""
        return self._storage.series_count()

    def query_for(self, trigger: TriggerSpec, triggers: int) -> QueryFunction:  # noqa: ARG002 - all alike
        """What answers *trigger*: a memory of its own."""
        storage = self._storage
        memories: dict[str, _Memory] = {}

        async def ask(query: str, now: float) -> QueryAnswer:
            memory = memories.get(query)
            if memory is None:
                memory = memories[query] = _Memory(parse(query), storage)
            return memory.answer(now)

        return ask


class _Memory:
    """One query and what it was answered."""

    def __init__(self, node: Node, storage: Storage) -> None:
        self._node = node
        self._storage = storage
        self._selectors = tuple(selectors_of(node)) if is_timeless(node) else None
        self._selections: tuple[Selection, ...] = ()
        self._known: dict[tuple[bytes, ...], QueryAnswer] = {}
        self._newest: QueryAnswer | None = None  # holds between these, while nothing is stored
        self._since_ms = self._until_ms = 0
        self._version = -1

    def answer(self, now: float) -> QueryAnswer:
        """The answer at *now*."""
        is_same = self._version == self._storage.version
        if is_same and self._since_ms <= to_ms(now) < self._until_ms:
            assert self._newest is not None  # noqa: S101 - it is of this version
            return _at(self._newest, now)
        self._version, self._until_ms = self._storage.version, 0
        answer = self._newest = self._looked_up(now)
        return answer

    def _looked_up(self, now: float) -> QueryAnswer:
        key = self._key(now)
        if key is None:
            return self._evaluate(now)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[key] = self._evaluate(now)
            return known
        return _at(known, now)

    def _key(self, now: float) -> tuple[bytes, ...] | None:
        """The values that the answer follows from; None: it does not follow from them."""
        if self._selectors is None:
            return None
        found = tuple(self._storage.find(selector.matchers) for selector in self._selectors)
        if any(a is not b for a, b in zip(found, self._selections, strict=False)) or (
            len(found) != len(self._selections)
        ):
            self._selections = found
            self._known.clear()
        now_ms = to_ms(now)
        until_ms = now_ms + _LOOKBACK_MS
        key = []
        for selection in found:
            times, values = self._storage.latest(selection)
            if len(times):
                if int(times.max()) > now_ms:
                    return None  # a sample that is not there yet at *now*
                until_ms = min(until_ms, int(times.min()) + _LOOKBACK_MS)
            present = (times > now_ms - _LOOKBACK_MS) & (values.view("int64") != STALE_BITS)
            key += [values.tobytes(), present.tobytes()]
        self._since_ms, self._until_ms = now_ms, until_ms  # then the oldest one is forgotten
        return tuple(key)

    def _evaluate(self, now: float) -> QueryAnswer:
        return answer_of(instant(self._node, self._storage, now), now)


def _at(answer: QueryAnswer, now: float) -> QueryAnswer:
    """The same answer at another time."""
    if answer.result_type == "vector":
        return QueryAnswer("vector", [_moved(element, now) for element in answer.result])
    return QueryAnswer(answer.result_type, (now, answer.result[1]))


def _moved(element: Mapping[str, Any], now: float) -> dict[str, Any]:
    return {"metric": element["metric"], "value": (now, element["value"][1])}
