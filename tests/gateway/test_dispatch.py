"""Who gets which request, without a socket and in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.gateway.dispatch import Backend, Dispatcher, Ticket
from stoker.gateway.openai import Refusal

A, B, C = (Backend(name, f"http://127.0.0.1/{name}") for name in "abc")


def make(*backends: Backend, queue_limit=10, queue_bytes=1000, hold_timeout=600.0) -> Dispatcher:
    dispatcher = Dispatcher(
        queue_limit=queue_limit, queue_bytes=queue_bytes, hold_timeout=hold_timeout
    )
    dispatcher.set_models({"m": []})
    dispatcher.set_backends("m", backends)
    return dispatcher


def ticket(model="m", size=1, wait=600.0, tried=()) -> Ticket:
    deadline = asyncio.get_running_loop().time() + wait
    return Ticket(model, size, deadline, tried=set(tried))


async def turns() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_replica_with_the_fewest_requests_gets_the_next():
    dispatcher = make(A, B)
    first = await dispatcher.acquire(ticket())
    second = await dispatcher.acquire(ticket())
    assert {first, second} == {A, B}
    dispatcher.release(second)
    assert await dispatcher.acquire(ticket()) == second
    assert (dispatcher.in_flight("a"), dispatcher.in_flight("b")) == (1, 1)


async def test_replicas_that_are_equally_busy_take_turns():
    dispatcher = make(A, B, C)
    order = []
    for _ in range(6):
        backend = await dispatcher.acquire(ticket())
        dispatcher.release(backend)
        order.append(backend)
    assert order[:3] == order[3:]
    assert set(order[:3]) == {A, B, C}


@given(st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=60))
def test_the_chosen_replica_is_always_one_of_the_least_busy(steps):
    """None sends a request, a number finishes one that is open."""

    async def play() -> None:
        dispatcher = make(A, B, C)
        open_: list[Backend] = []
        for step in steps:
            if step is None:
                before = {b: dispatcher.in_flight(b.name) for b in (A, B, C)}
                chosen = await dispatcher.acquire(ticket())
                assert before[chosen] == min(before.values())
                open_.append(chosen)
            elif open_:
                dispatcher.release(open_.pop(step % len(open_)))
        for backend in open_:
            dispatcher.release(backend)
        assert all(dispatcher.in_flight(b.name) == 0 for b in (A, B, C))
        assert set(dispatcher.pods()) == {"a", "b", "c"}

    with asyncio.Runner() as runner:
        runner.run(play())


async def test_a_replica_that_was_taken_out_keeps_its_count_until_it_is_done():
    dispatcher = make(A)
    backend = await dispatcher.acquire(ticket())
    dispatcher.set_backends("m", [B])
    assert dispatcher.in_flight("a") == 1
    assert dispatcher.pods() == ("a", "b")
    dispatcher.release(backend)
    assert dispatcher.in_flight("a") == 0
    assert dispatcher.pods() == ("b",)


@pytest.mark.looptime
async def test_requests_wait_and_leave_in_the_order_in_which_they_came():
    dispatcher = make()
    left: list[int] = []

    async def request(number: int) -> None:
        await dispatcher.acquire(ticket())
        left.append(number)

    tasks = []
    for number in range(5):
        tasks.append(asyncio.create_task(request(number)))
        await turns()
    assert dispatcher.held("m") == 5
    assert dispatcher.held_bytes("m") == 5
    await asyncio.sleep(70)
    dispatcher.set_backends("m", [A, B])
    await asyncio.gather(*tasks)
    assert left == [0, 1, 2, 3, 4]
    assert (dispatcher.held("m"), dispatcher.held_bytes("m")) == (0, 0)
    assert {dispatcher.in_flight("a"), dispatcher.in_flight("b")} == {2, 3}


async def test_the_held_callback_tells_of_every_request_that_begins_to_wait_for_a_start_up():
    dispatcher = make()
    told: list[str] = []
    dispatcher.on_held = told.append
    waiting = [asyncio.create_task(dispatcher.acquire(ticket())) for _ in range(2)]
    await turns()
    assert told == ["m", "m"]
    dispatcher.set_backends("m", [A])
    await asyncio.gather(*waiting)
    await dispatcher.acquire(ticket())
    assert told == ["m", "m"]


@pytest.mark.looptime
async def test_a_request_is_refused_when_no_replica_came_in_time(looptime):
    dispatcher = make(hold_timeout=300)
    with pytest.raises(Refusal) as refused:
        await dispatcher.acquire(ticket(wait=300))
    assert looptime == 300
    assert refused.value.status == 503
    assert refused.value.retry_after is not None
    assert "waited 300 s and no replica became ready" in refused.value.message
    assert dispatcher.held("m") == 0


async def test_a_client_that_goes_away_leaves_the_queue_at_once():
    dispatcher = make()
    waiting = asyncio.create_task(dispatcher.acquire(ticket(size=100)))
    await turns()
    waiting.cancel()
    await turns()
    assert (dispatcher.held("m"), dispatcher.held_bytes("m")) == (0, 0)


async def test_a_replica_given_in_the_moment_of_giving_up_is_given_back():
    dispatcher = make()
    waiting = asyncio.create_task(dispatcher.acquire(ticket()))
    await turns()
    dispatcher.set_backends("m", [A])
    assert dispatcher.in_flight("a") == 1
    waiting.cancel()
    await turns()
    assert waiting.cancelled()
    assert dispatcher.in_flight("a") == 0


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        pytest.param({"queue_limit": 2}, "2 requests are waiting already", id="by-count"),
        pytest.param({"queue_bytes": 250}, "hold 200 bytes already", id="by-bytes"),
    ],
)
async def test_a_full_queue_refuses_with_429_and_a_time(limits, why):
    dispatcher = make(**limits)
    waiting = [asyncio.create_task(dispatcher.acquire(ticket(size=100))) for _ in range(2)]
    await turns()
    with pytest.raises(Refusal) as refused:
        await dispatcher.acquire(ticket(size=100))
    assert refused.value.status == 429
    assert refused.value.retry_after == 30
    assert why in refused.value.message
    dispatcher.close()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.looptime
async def test_retry_after_is_the_median_of_the_start_ups_that_were_seen():
    dispatcher = make()
    for seconds in (10, 80, 20.5):
        waiting = asyncio.create_task(dispatcher.acquire(ticket()))
        await asyncio.sleep(seconds)
        dispatcher.set_backends("m", [A])
        await waiting
        dispatcher.set_backends("m", [])
    assert dispatcher.retry_after("m") == 21


async def test_a_request_is_not_sent_again_to_a_replica_that_failed_it():
    dispatcher = make(A, B)
    assert await dispatcher.acquire(ticket(tried={"a"})) == B
    assert await dispatcher.acquire(ticket(tried={"a"})) == B


@pytest.mark.looptime
async def test_a_request_that_all_failed_waits_at_the_front_for_a_new_replica(looptime):
    dispatcher = make(A, queue_limit=10)
    retried = asyncio.create_task(dispatcher.acquire(ticket(tried={"a"})))
    await turns()
    dispatcher.set_backends("m", [])
    fresh = asyncio.create_task(dispatcher.acquire(ticket()))
    await turns()
    again = asyncio.create_task(dispatcher.acquire(ticket(tried={"a"})))
    await turns()
    assert [waiter.ticket.tried for waiter in dispatcher._models["m"].queue] == [
        {"a"},
        {"a"},
        set(),
    ]
    dispatcher.set_backends("m", [B])
    await asyncio.gather(retried, again, fresh)
    assert looptime == 0


@pytest.mark.looptime
async def test_a_replica_that_stays_ready_gets_another_chance_after_a_growing_pause(looptime):
    dispatcher = make(A)
    mine = ticket(tried={"a"})
    pauses = []
    for _ in range(7):
        before = float(looptime)
        dispatcher.release(await dispatcher.acquire(mine))
        pauses.append(round(float(looptime) - before, 3))
        mine.tried.add("a")
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


@pytest.mark.looptime
async def test_replicas_that_refuse_connections_do_not_hold_a_request_for_ever():
    dispatcher = make(A, hold_timeout=5)
    mine = ticket(wait=5, tried={"a"})

    async def try_for_ever() -> None:
        while True:
            dispatcher.release(await dispatcher.acquire(mine))
            mine.tried.add("a")

    with pytest.raises(Refusal, match="do not accept connections"):
        await try_for_ever()


async def test_requests_for_a_model_that_was_taken_away_get_a_404():
    dispatcher = make()
    waiting = asyncio.create_task(dispatcher.acquire(ticket()))
    await turns()
    dispatcher.set_models({"other": []})
    with pytest.raises(Refusal, match="The model `m` does not exist") as refused:
        await waiting
    assert refused.value.status == 404


async def test_aliases_stand_for_their_model_until_they_are_taken_away():
    dispatcher = make()
    dispatcher.set_models({"m": ["x", "y"]})
    assert [dispatcher.resolve(name) for name in ("m", "x", "y", "z")] == ["m", "m", "m", None]
    dispatcher.set_models({"m": ["x"]})
    assert dispatcher.resolve("y") is None


async def test_telling_the_models_again_keeps_their_replicas():
    dispatcher = make(A)
    dispatcher.set_models({"m": ["new"]})
    assert dispatcher.backends("m") == (A,)


async def test_a_dispatcher_that_is_closed_refuses_those_that_wait_and_those_that_come():
    dispatcher = make()
    waiting = asyncio.create_task(dispatcher.acquire(ticket()))
    await turns()
    dispatcher.close()
    with pytest.raises(Refusal, match="stopping"):
        await waiting
    with pytest.raises(Refusal, match="stopping"):
        await dispatcher.acquire(ticket())
