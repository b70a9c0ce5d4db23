"""What Python sees of the fleet: replicas come, become ready, drain and go; requests flow between.

Times are seconds since the start of the run. The caller says how far to go; whatever is decided in
between (a scrape, a poll, a replica that is ready) is said at the time that was reached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stoker.simulator.engine import Limits
from stoker.simulator.fleet import replicas, routing
from stoker.simulator.fleet import state as at
from stoker.simulator.fleet.counting import FINE_BOUNDS
from stoker.simulator.fleet.handle import handle
from stoker.simulator.fleet.holding import BUDGET_RESERVE
from stoker.simulator.fleet.state import Ints, State
from stoker.simulator.fleet.stepping import advance
from stoker.simulator.profiles import EngineProfile
from stoker.traces import Arrivals

_FIRST_SLOTS = 4
_UNLIMITED = 2**62


@dataclass(frozen=True, slots=True)
class Server:
    """What the replicas of one application are. Durations in seconds."""

    profile: EngineProfile
    limits: Limits
    hold_timeout: float = 600.0
    hold_limit: int | None = None  # requests that may be held; None: any number
    slow_start: float = 5.0  # how long a new replica is spared
    burst: int = 16  # requests that it may have at once
    pace: float = 64.0  # by how many a second that number grows
    prefix_caching: bool = True
    first_token_timeout: float = math.inf  # how long clients wait, the same for all servers
    client_timeout: float = math.inf  # for the whole answer
    gap_buckets: tuple[float, ...] = ()  # of the gaps between tokens; those of the first count


class Fleet:
    """Replicas of some servers, and the traffic to them.

    *apps* says to which of the *servers* each request goes.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        servers: Sequence[Server],
        apps: Sequence[int] | Ints | None = None,
    ) -> None:
        self.servers = tuple(servers)
        self.arrivals = arrivals
        self._slots = 0  # used once at least
        self._now = 0.0
        self._readied = 0
        self._pods = 0  # that there ever were
        self._gap_seconds = 0.0  # of those that had a slot before
        self._free: list[int] = []
        of = np.zeros(len(arrivals), np.int64) if apps is None else np.asarray(apps, np.int64)
        self._state = _new_state(arrivals, self.servers, of)
        self._handle = handle(self._state)
        self._refuse_too_long()

    # -- replicas --------------------------------------------------------------------------------

    def add(self, app: int) -> int:
        """A new replica that gets nothing yet. Returns its slot."""
        if not self._free and self._slots == len(self._state.number):
            self._grow()
        slot = self._free.pop() if self._free else self._slots
        self._slots = max(self._slots, slot + 1)
        self._clear(slot, app)
        self._pods += 1
        self._state.number[slot, at.POD] = self._pods
        return slot

    def _clear(self, slot: int, app: int) -> None:
        self._gap_seconds += float(self._state.clock[slot, at.GAP_SUM])
        replicas.begin_replica(self._handle, slot, app)

    def answered(self, slot: int) -> int:
        """Requests that the process in a slot has answered."""
        return int(self._state.number[slot, at.SUCCESSES])

    def ready(self, slot: int, now: float, *, warm: bool = False) -> None:
        """Let it have requests from *now* on, those that are held first.

        *warm*: it was ready long ago, and needs no slow start.
        """
        s = self._state
        s.number[slot, at.ROUTABLE] = 1
        s.clock[slot, at.READY_AT] = -math.inf if warm else now
        self._readied += 1
        s.number[slot, at.TURN] = self._readied - _UNLIMITED  # before all that had a turn
        routing.fill(self._handle, self._slots, int(s.number[slot, at.APP]), now)

    def drain(self, slot: int) -> bool:
        """No new requests. True: it has none at all, and nothing is to be waited for."""
        number = self._state.number[slot]
        number[at.ROUTABLE] = 0
        number[at.DRAINING] = 1
        return bool(number[at.IN_FLIGHT] == 0)

    def abort(self, slot: int, now: float) -> None:
        """Its process ends: an answer that has begun is broken, the others are sent again.

        The slot is as new afterwards.
        """
        number = self._state.number[slot]
        number[at.ROUTABLE] = number[at.DRAINING] = 0
        advance(self._handle, slot, now)
        replicas.abort_all(self._handle, self._slots, slot, now)
        pod = int(number[at.POD])
        self._clear(slot, int(number[at.APP]))
        number[at.POD] = pod

    def remove(self, slot: int) -> None:
        """It is gone, and its slot is free. It has no requests."""
        number = self._state.number[slot]
        if number[at.IN_FLIGHT]:
            raise ValueError(f"replica {slot} has {number[at.IN_FLIGHT]} requests")
        number[at.ROUTABLE] = number[at.DRAINING] = 0
        number[at.PLAN] = at.IDLE
        self._free.append(slot)

    def drained(self) -> list[tuple[int, float]]:
        """Draining replicas that are empty now, and since when. Each is told once."""
        clock = self._state.clock
        found = []
        for slot in np.flatnonzero(clock[: self._slots, at.DRAINED] < math.inf).tolist():
            found.append((slot, float(clock[slot, at.DRAINED])))
            clock[slot, at.DRAINED] = math.inf
            self._state.number[slot, at.DRAINING] = 0
        return found

    # -- traffic ---------------------------------------------------------------------------------

    def run(self, until: float) -> float:
        """Go on to *until*, or to the moment at which a replica is drained or a request is held.

        A request that is held ends a run only once after each :meth:`wake_when_held`.
        """
        self._now = float(routing.run(self._handle, self._slots, self._now, until))
        return self._now

    def wake_when_held(self, app: int, *, wake: bool) -> None:
        """End the next run when a request of *app* has to wait for a replica."""
        self._state.app[app, at.PUSH] = wake

    @property
    def request_was_held(self) -> bool:
        """Whether that is why the last run ended."""
        return bool(self._state.world[at.EVENT] == at.REQUEST_HELD)

    @property
    def pending(self) -> bool:
        """Whether a request is still to come, held or at a replica."""
        number = self._state.number[: self._slots]
        return bool(
            self._state.world[at.NEXT] < len(self.arrivals)
            or number[:, at.IN_FLIGHT].any()
            or self._state.app[:, [at.HELD_COUNT, at.AGAIN_COUNT]].any()
        )

    # -- what can be seen ------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The columns, to read. Replaced when replicas come."""
        return self._state

    def held(self, app: int) -> int:
        """Requests that wait for a replica."""
        return int(self._state.app[app, at.HELD_COUNT] + self._state.app[app, at.AGAIN_COUNT])

    def in_flight(self, slot: int) -> int:
        """Requests at a replica."""
        return int(self._state.number[slot, at.IN_FLIGHT])

    def gap_seconds(self) -> float:
        """The sum of all times between two tokens, of replicas that are gone, too."""
        return self._gap_seconds + float(self._state.clock[: self._slots, at.GAP_SUM].sum())

    def used_blocks(self, slot: int) -> int:
        """KV blocks in use, those that are only kept for reuse not counted."""
        number = self._state.number[slot]
        return int(number[at.PRIVATE] + number[at.SHARED])

    # -- inside ----------------------------------------------------------------------------------

    def _refuse_too_long(self) -> None:
        """VLLM refuses what does not fit into ``max_model_len``."""
        s = self._state
        longest = np.array([server.limits.max_model_len for server in self.servers])
        total = s.request[:, at.Q_PROMPT] + s.request[:, at.Q_OUTPUT]
        too_long = total > longest[s.request[:, at.Q_APP]]
        s.request[too_long, at.Q_STATUS] = at.TOO_LONG

    def _grow(self) -> None:
        more = max(len(self._state.number), _FIRST_SLOTS)
        grown = {}
        for name in _BY_REPLICA:
            column = getattr(self._state, name)
            grown[name] = np.concatenate(
                [column, np.zeros((more, *column.shape[1:]), column.dtype)]
            )
        self._state = self._state._replace(**grown)
        self._handle = handle(self._state)


_BY_REPLICA = ("clock", "number", "lists", "residues", "cache", "gaps")


def _new_state(arrivals: Arrivals, servers: Sequence[Server], apps: Ints) -> State:
    width = max(server.limits.max_num_seqs for server in servers)
    size = max(server.limits.block_size for server in servers)
    hash_tokens = None if arrivals.blocks is None else arrivals.blocks.block_size
    blocks, hash_at, contents = _blocks(arrivals, servers, apps)
    times = np.full((len(arrivals), at.TIMES), math.nan)
    times[:, at.T_ARRIVED] = arrivals.times
    request = np.zeros((len(arrivals), at.QUANTITIES), np.int64)
    request[:, at.Q_PROMPT] = arrivals.prompt_tokens
    request[:, at.Q_OUTPUT] = arrivals.output_tokens
    request[:, at.Q_APP] = apps
    request[:, at.Q_REPLICA] = at.NONE
    request[:, at.Q_BASE] = at.NOT_DECODING
    request[:, at.Q_HASHES], request[:, at.Q_HASHES_END] = hash_at[:-1], hash_at[1:]
    coarse, fine = np.array(servers[0].gap_buckets), FINE_BOUNDS

    def numbers(*shape: int) -> Ints:
        return np.zeros(shape, np.int64)

    return State(
        times=times,
        request=request,
        blocks=blocks,
        log=numbers(2, len(arrivals)),
        clock=np.zeros((_FIRST_SLOTS, at.CLOCKS)),
        number=numbers(_FIRST_SLOTS, at.NUMBERS),
        lists=numbers(_FIRST_SLOTS, at.LISTS, width),
        residues=numbers(_FIRST_SLOTS, size),
        cache=numbers(_FIRST_SLOTS, at.CACHES, contents),
        gaps=numbers(_FIRST_SLOTS, len(coarse) + 1),
        rate=np.array([_rates(server) for server in servers]),
        app=np.array([_limits(server, hash_tokens) for server in servers], np.int64),
        fine=numbers(len(servers), len(fine) + 1),
        coarse_bounds=coarse,
        fine_bounds=fine,
        world=numbers(at.WORLD),
    )


def _rates(server: Server) -> tuple[float, ...]:
    profile = server.profile
    return (
        profile.weights_ms,
        profile.prefill_token_ms,
        profile.decode_sequence_ms,
        profile.kv_token_ms,
        server.hold_timeout,
        server.slow_start,
        server.pace,
        server.first_token_timeout,
        server.client_timeout,
        BUDGET_RESERVE,
    )


def _limits(server: Server, hash_tokens: int | None) -> tuple[int, ...]:
    limits = server.limits
    blocks_per_hash = 1 if hash_tokens is None else hash_tokens // limits.block_size
    return (
        limits.max_num_seqs,
        limits.max_num_batched_tokens,
        limits.num_gpu_blocks - 1,  # block 0 is the null block
        limits.block_size,
        int(limits.enable_chunked_prefill),
        max(blocks_per_hash, 1),
        _UNLIMITED if server.hold_limit is None else server.hold_limit,
        server.burst,
        *(0, at.NONE, at.NONE, 0, 0, at.NONE, at.NONE),  # nobody is held
    )


def _blocks(arrivals: Arrivals, servers: Sequence[Server], apps: Ints) -> tuple[Ints, Ints, int]:
    """Rows of `blocks`, where those of each request begin, and how many hashes there are."""
    blocks = arrivals.blocks
    if blocks is None or not any(server.prefix_caching for server in servers):
        return np.zeros((0, 2), np.int64), np.zeros(len(arrivals) + 1, np.int64), 0
    contents, numbers = np.unique(blocks.hashes, return_inverse=True)
    # The last, shorter block of a prompt is never shared.
    full = np.minimum(np.diff(blocks.offsets), arrivals.prompt_tokens // blocks.block_size)
    caching = np.array([server.prefix_caching for server in servers])
    full = np.where(caching[apps], full, 0)
    hash_at = np.concatenate([[0], np.cumsum(full)]).astype(np.int64)
    within = np.arange(hash_at[-1]) - np.repeat(hash_at[:-1], full)
    rows = np.zeros((len(within), 2), np.int64)
    rows[:, at.CONTENT] = numbers[np.repeat(blocks.offsets[:-1], full) + within]
    return rows, hash_at, len(contents)
