"""Three scenes, and what must be true of them whatever was drawn.

`play`: clients, replicas, time and the control process do anything in any order. `compare`: what
one client hears does not depend on how its bytes and those of its replica were cut. `remember`: a
head that was read before is taken as one that is read again.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from random import Random

from tests.gateway.fuzzing import grammar
from tests.gateway.fuzzing.readers import (
    Seen,
    answers_by_h11,
    requests_by_h11,
    requests_by_llhttp,
)
from tests.gateway.fuzzing.world import Loop, Wire, World, run, turns

from stoker.gateway.heads import AnswerHeads, RequestHeads

_Answer = Callable[[Seen], tuple[list[bytes], bool]]


class Replica:
    """One connection of a replica: reads strictly, answers what it is told to."""

    def __init__(
        self,
        loop: Loop,
        protocol: asyncio.Protocol,
        answer: _Answer,
        hurries: Callable[[], bool] = lambda: False,
    ) -> None:
        self.wire = Wire(loop, self._read)
        self.wire.protocol = protocol
        self.answer = answer
        self.hurries = hurries  # whether to answer a request that has not come in whole
        self.heard = 0
        self.pending: deque[bytes | None] = deque()  # pieces of answers; None: it closes

    def _read(self, _data: bytes) -> None:
        found, begun = requests_by_llhttp(bytes(self.wire.sent))
        if begun > max(self.heard, len(found)) and self.hurries():
            found.append(Seen(b"POST"))
        for one in found[self.heard :]:
            self.heard += 1
            pieces, closes = self.answer(one)
            self.pending += pieces
            if closes:
                self.pending.append(None)

    def say(self) -> None:
        """The next piece."""
        if self.pending:
            self.wire.feed(self.pending.popleft())


def play(rng: Random) -> None:
    """Anything in any order."""
    run(lambda loop: _Play(loop, rng).run())


class _Play:
    def __init__(self, loop: Loop, rng: Random) -> None:
        self.rng = rng
        self.world = World(loop)
        self.loop = loop
        loop.dial = self.dial
        self.replicas: list[Replica] = []
        self.said: dict[Wire, bytearray] = {}
        self.to_say: dict[Wire, deque[bytes]] = {}
        self.gone: set[Wire] = set()
        self.stopping: asyncio.Task[None] | None = None

    def dial(self, protocol: asyncio.Protocol, _port: int) -> Wire | None:
        kind = self.rng.random()
        if kind < 0.1:
            return None
        replica = Replica(self.loop, protocol, self.answer, lambda: self.rng.random() < 0.3)
        self.replicas.append(replica)
        if kind < 0.2:
            replica.wire.delay = self.rng.choice((0.1, 2.0))
        elif kind < 0.3:
            replica.wire.late = self.rng.choice((0.1, 0.7))
        if kind < 0.15:
            replica.wire.reset()
        return replica.wire

    def answer(self, one: Seen) -> tuple[list[bytes], bool]:
        data, closes = grammar.answer(self.rng, head_only=one.method == b"HEAD")
        return grammar.cuts(self.rng, data), closes

    async def run(self) -> None:
        rng = self.rng
        self.world.ready("m", 1, 2)
        for _ in range(rng.choice((1, 1, 2, 4))):
            wire = self.world.connect()
            self.said[wire] = bytearray()
            self.to_say[wire] = deque(grammar.cuts(rng, grammar.client_bytes(rng)))
        for _ in range(rng.choice((20, 60))):
            self.step()
            if rng.random() < 0.6:
                await turns(rng.choice((1, 1, 3)))
            if rng.random() < 0.1:
                await asyncio.sleep(rng.choice((0.01, 0.3, 1.1, 4.5)))
        for replica in self.replicas:
            while replica.pending and rng.random() < 0.9:
                replica.say()
        await self.world.settle()
        self.check()
        await self.world.end()

    def step(self) -> None:
        rng = self.rng
        kind = rng.random()
        if kind < 0.4:
            self.client_says()
        elif kind < 0.8:
            if self.replicas:
                rng.choice(self.replicas[-4:]).say()
        elif kind < 0.9:
            self.client_does(kind)
        elif kind < 0.95:
            self.replica_does(kind)
        else:
            self.control()

    def client_says(self) -> None:
        wire = self.rng.choice(self.world.clients)
        if self.to_say[wire] and wire not in self.gone and not wire.is_closing():
            piece = self.to_say[wire].popleft()
            self.said[wire] += piece
            wire.feed(piece)

    def client_does(self, kind: float) -> None:
        wire = self.rng.choice(self.world.clients)
        if kind < 0.85:
            wire.slow = True
        elif kind < 0.88:
            wire.read()
        else:
            self.gone.add(wire)
            if self.rng.random() < 0.5:
                wire.reset()
            else:
                wire.feed(None)

    def replica_does(self, kind: float) -> None:
        if not self.replicas:
            return
        replica = self.rng.choice(self.replicas)
        if kind < 0.93:  # before anybody asked, or beside its answer
            data, _ = grammar.answer(self.rng, head_only=False)
            replica.pending += grammar.cuts(self.rng, data)
        elif kind < 0.94:
            replica.wire.feed(None)
        else:
            replica.wire.reset()

    def control(self) -> None:
        rng, plane = self.rng, self.world.plane
        kind = rng.randrange(6)
        if rng.random() < 0.03:
            self.stopping = self.loop.create_task(plane.stop(rng.choice((0.0, 1.0, 30.0))))
        model = rng.choice(("m", "n"))
        if kind <= 1:
            self.world.ready(model, *rng.choice(((), (1,), (2,), (1, 2, 3))))
        elif kind == 2:
            plane.remove_endpoint(model, f"{model}-{rng.choice((1, 2))}")
        elif kind == 3:
            plane.set_health(model, f"{model}-1", healthy=rng.random() < 0.5)
        elif kind == 4:
            plane.start_failed(model, "no GPU")
        else:
            for endpoint in plane.dispatcher.endpoints(model):
                endpoint.elsewhere = rng.choice((0, 3))
            plane.decide(lambda now: plane.dispatcher.refill(model, now))

    def check(self) -> None:
        """What must be true when nothing can happen any more."""
        known = [one for said in self.said.values() for one in read_leniently(bytes(said))]
        for replica in self.replicas:
            check_replica(bytes(replica.wire.sent), known)
        for wire, said in self.said.items():
            check_client(bytes(said), bytes(wire.sent), closed=wire.lost)
        check_books(self.world)


def compare(rng: Random) -> None:
    """One client and one good replica, twice, with the same bytes in other pieces."""
    data = grammar.client_bytes(rng)
    seed = rng.getrandbits(32)
    first = run(lambda loop: _outcome(loop, data, [data], Random(seed), None))
    pieces = grammar.cuts(rng, data)
    second = run(lambda loop: _outcome(loop, data, pieces, Random(seed), rng))
    assert first == second, f"{first}\n{second}\n{pieces}"


def remember(rng: Random) -> None:
    """A client and a replica that repeat themselves: what was read before, and what is read anew.

    Both must make the same of the same bytes, to the letter.
    """
    requests = grammar.repeated(rng)
    if rng.random() < 0.3:
        at = rng.randrange(len(requests))
        requests[at] = grammar.mutated(rng, requests[at])
    seed = rng.getrandbits(32)
    remembered = run(lambda loop: _conversation(loop, requests, Random(seed), forget=False))
    anew = run(lambda loop: _conversation(loop, requests, Random(seed), forget=True))
    assert remembered == anew, f"{remembered}\n{anew}\n{requests}"


async def _conversation(
    loop: Loop, requests: list[bytes], answers: Random, *, forget: bool
) -> object:
    """Each request when the one before has its answer; what was said and what was counted."""
    world = World(loop)
    if forget:
        world.plane.request_heads, world.plane.answer_heads = RequestHeads(0), AnswerHeads(0)
    replicas: list[Replica] = []

    def answer(one: Seen) -> tuple[list[bytes], bool]:
        said = grammar.usual_answer(answers, head_only=one.method == b"HEAD")
        return [grammar.mutated(answers, said) if answers.random() < 0.05 else said], False

    def dial(protocol: asyncio.Protocol, _port: int) -> Wire:
        replicas.append(Replica(loop, protocol, answer))
        return replicas[-1].wire

    loop.dial = dial
    world.ready("m", 1, 2)
    world.ready("n", 2)
    client = world.connect()
    for piece in requests:
        if not client.is_closing():
            client.feed(piece)
        await _talk(replicas)
    await world.settle()
    check_books(world)
    counted = {
        name: (dict(c.by_code), dict(c.replicas), c.output_tokens, dict(c.retries))
        for name, c in world.plane.counters.items()
    }
    await world.end()
    wires = [bytes(client.sent), *(bytes(replica.wire.sent) for replica in replicas)]
    return counted, [re.sub(rb"(X-Request-Id: |# )[^\r\n]*", rb"\1", sent) for sent in wires]


async def _outcome(
    loop: Loop, data: bytes, pieces: list[bytes], answers: Random, cut: Random | None
) -> object:
    world = World(loop)
    replicas: list[Replica] = []
    sent: list[tuple[bytes, bool]] = []

    def answer(one: Seen) -> tuple[list[bytes], bool]:
        head_only = one.method == b"HEAD"
        if answers.random() < 0.5:
            said, closes = grammar.usual_answer(answers, head_only=head_only), False
        else:
            said, closes = grammar.good_answer(answers, head_only=head_only)
        sent.append((said, closes))
        return ([said] if cut is None else grammar.cuts(cut, said)), closes

    def dial(protocol: asyncio.Protocol, _port: int) -> Wire:
        replicas.append(Replica(loop, protocol, answer))
        return replicas[-1].wire

    loop.dial = dial
    world.ready("m", 1)
    world.ready("n", 2)
    client = world.connect()
    if cut is not None:
        await _mingle(cut, replicas, client, pieces)
        pieces = []
    for piece in pieces:
        client.feed(piece)
    for _ in range(3):  # what waits for a timer, too
        await _talk(replicas)
        await asyncio.sleep(0.1)
    await world.settle()
    known = read_leniently(data)
    heard = [one for r in replicas for one in check_replica(bytes(r.wire.sent), known)]
    answers_seen = check_client(data, bytes(client.sent), closed=client.lost)
    check_books(world)
    await world.end()
    return [_gist(one) for one in answers_seen], [(h.method, h.target, h.body) for h in heard]


async def _mingle(cut: Random, replicas: list[Replica], client: Wire, pieces: list[bytes]) -> None:
    """The pieces of a client and of its replica, many of them in the same turn."""
    quick = cut.choice((0.05, 0.2, 0.5, 0.9))
    waiting = deque(pieces)
    while waiting:
        pending = [replica for replica in replicas if replica.pending]
        if pending and cut.random() < 0.6:
            pending[0].say()
        else:
            client.feed(waiting.popleft())
        if cut.random() > quick:
            await turns(cut.choice((1, 2, 6)))


async def _talk(replicas: list[Replica]) -> None:
    """Until no replica has anything to say."""
    quiet = 0
    while quiet < 12:
        await turns(1)
        quiet += 1
        for replica in tuple(replicas):
            if replica.pending:
                replica.say()
                quiet = 0


def _gist(one: Seen) -> object:
    """What an answer says, without what varies from run to run."""
    gateways = b'"error":{"message"' in one.body
    if one.status == 400 or (gateways and one.status in {408, 431}):
        return "refused"  # which mistake is seen first, and whether a HEAD was, hangs on the cuts
    if b"# HELP" in one.body:
        return "metrics"
    if gateways:
        return one.status, re.search(rb'"code":[^}]*', one.body).group()
    return one.status, one.whole, one.body


def check_replica(sent: bytes, known: list[Seen]) -> list[Seen]:
    """Two readers see the same requests in what a replica got, and clients have sent them all."""
    found, why = requests_by_h11(sent)
    others, begun = requests_by_llhttp(sent)
    assert not why, f"h11: {why}: {sent!r}"
    shown = [(one.method, one.target, one.body) for one in found]
    assert shown == [(one.method, one.target, one.body) for one in others], sent
    assert begun <= len(found) + 1
    for one in found:
        lengths, codings = one.values(b"content-length"), one.values(b"transfer-encoding")
        assert (lengths, codings) == ([b"%d" % len(one.body)], []), one
        assert len(one.values(b"host")) == len(one.values(b"x-request-id")) == 1, one
        assert any(_is_of(one, sent_by_client) for sent_by_client in known), (one, known)
    return found


def _is_of(one: Seen, other: Seen) -> bool:
    """Whether a replica's request *one* is what the client sent as *other*."""
    if one.method != other.method:
        return False
    if other.values(b"content-encoding") and one.body != other.body:
        return b"/v1/" in other.target  # unpacked
    target = one.target.removeprefix(b"/")
    return one.body == other.body and target in other.target


def check_client(said: bytes, sent: bytes, *, closed: bool) -> list[Seen]:
    """What the client got are answers, in order, and no more than it asked."""
    asked, begun = requests_by_llhttp(said)
    known = read_leniently(said)
    found = answers_by_h11(sent, [one.method for one in asked], closed=closed)
    assert len(found) <= begun + 1, (said, sent)
    for one, request in zip(found, known, strict=False):
        if request.version == b"1.0":
            assert not one.values(b"transfer-encoding"), (said, sent)
            assert not one.interim, (said, sent)
    assert closed or all(one.whole for one in found), f"left half way: {sent!r}"
    return found


def read_leniently(data: bytes) -> list[Seen]:
    """Requests as h11 reads them, but for what llhttp takes and what has one reading all the same.

    These are line feeds before a request, blanks in its first line, and the versions of RTSP and
    ICE, which become HTTP/1.0.
    """
    found, why = requests_by_h11(data)
    if "request line" not in why:
        return found
    asked, _ = requests_by_llhttp(data)
    return found + asked[len(found) :]


def check_books(world: World) -> None:
    """Every request has ended exactly once, and nobody has anything in hand."""
    plane = world.plane
    for model, counters in plane.counters.items():
        assert counters.in_flight == 0, f"{model}: {counters.in_flight} in flight"
        assert counters.incoming == sum(counters.by_code.values()), (model, counters.by_code)
        assert plane.dispatcher.held(model) == 0
        assert plane.dispatcher.held_bytes(model) == 0
        for endpoint in plane.dispatcher.endpoints(model):
            assert (endpoint.in_flight, len(endpoint.unanswered)) == (0, 0), endpoint.name
    assert not plane.outbounds
    assert not plane.inbounds, "connections of clients are left"
