"""What a gateway process notes of its requests for a trace: when they came and how long they were.

A row is ready when its request is over. Rows leave in the order of arrival, so a request that takes
long holds back those that came after it: up to `PATIENCE` seconds and `MOST` rows. Then it leaves
with the tokens that it has had so far.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final

from stoker.gateway.keys import bearer

if TYPE_CHECKING:
    from stoker.gateway.exchange import Exchange

#: Seconds for which an unfinished request holds back those behind it.
PATIENCE: Final = 600.0
#: Rows that wait in memory; a row is some hundred bytes.
MOST: Final = 100_000
#: Rows that leave at once.
BATCH: Final = 20_000
#: Only requests whose answers are generated: others are not what a replay models.
_PATHS: Final = frozenset(
    {b"/v1/chat/completions", b"/v1/completions", b"/v1/messages", b"/v1/responses"}
)
_BYTES_A_TOKEN: Final = 4.0  # of a request's body, until answers have told
_KEY_BYTES: Final = 6

#: Arrival (the machine's steady clock), model, key, prompt tokens, completion tokens, estimated.
Row = tuple[float, str, str | None, int, int, bool]


class Entry:
    """One request's row in the making.

    Attributes:
        prompt_tokens: As the engine reported; None: it has not.
        completion_tokens: As the engine reported, or as many as were seen so far.
        reported: The engine has said how many they are.
        over: The request is.
        wanted: It goes into the trace.
    """

    __slots__ = (
        "came",
        "completion_tokens",
        "key",
        "model",
        "over",
        "prompt_tokens",
        "reported",
        "size",
        "wanted",
    )

    def __init__(self, came: float, model: str, key: str | None, size: int) -> None:
        self.came = came
        self.model = model
        self.key = key
        self.size = size
        self.prompt_tokens: int | None = None
        self.completion_tokens = 0
        self.reported = False
        self.over = False
        self.wanted = True


class Recorder:
    """The rows of one process.

    Args:
        salt: With it API keys become the same short names in all processes, and nobody who has
            the trace but not the salt can try keys against them.
        most: Rows that may wait in memory.
    """

    def __init__(self, salt: bytes, *, most: int = MOST) -> None:
        self.salt = salt
        self.most = most
        self.lost = 0
        self._entries: deque[Entry] = deque()
        self._told: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])  # bytes, tokens

    def began(self, exchange: Exchange) -> None:
        """A request has come in whole and its model is known."""
        if exchange.path.partition(b"?")[0] not in _PATHS:
            return
        if len(self._entries) >= self.most:  # nobody takes them
            self._entries.popleft()
            self.lost += 1
        token = bearer(exchange.read)
        key = None
        if token:
            key = hashlib.blake2b(token, key=self.salt, digest_size=_KEY_BYTES).hexdigest()
        exchange.entry = Entry(exchange.began, exchange.model, key, exchange.size)
        self._entries.append(exchange.entry)

    def ended(self, exchange: Exchange, status: int) -> None:
        """A request is over, in whatever way; *status* as in the access log."""
        entry, exchange.entry = exchange.entry, None
        if entry is None:
            return
        entry.over = True
        # What an engine turns down was no work for it. What the gateway turns down would have been.
        entry.wanted = not (400 <= status < 500 and status == exchange.status)
        if entry.prompt_tokens:
            told = self._told[entry.model]
            told[0] += entry.size
            told[1] += entry.prompt_tokens

    def take(self, now: float, *, everything: bool = False) -> tuple[list[Row], float]:
        """Rows that are ready, at most `BATCH`, and the time before which no other will come.

        Args:
            now: Of the machine's steady clock.
            everything: Also what is unfinished, with what it has had so far.
        """
        entries, rows = self._entries, list[Row]()
        while entries and len(rows) < BATCH:
            first = entries[0]
            late = now - first.came > PATIENCE or len(entries) > self.most // 2
            if not (first.over or late or everything):
                break
            entries.popleft()
            if first.wanted:
                rows.append(self._row(first))
        return rows, entries[0].came if entries else now

    def _row(self, entry: Entry) -> Row:
        prompt = entry.prompt_tokens
        estimated = prompt is None or not entry.reported
        if prompt is None:
            size, tokens = self._told[entry.model]
            prompt = max(1, round(entry.size / (size / tokens if tokens else _BYTES_A_TOKEN)))
        return (entry.came, entry.model, entry.key, prompt, entry.completion_tokens, estimated)
