"""What is in a batch: the order of admission, who finishes next, who needs a block when."""

from __future__ import annotations

from stoker.simulator.compiled import inner
from stoker.simulator.fleet.prefixes import release
from stoker.simulator.fleet.state import (
    APP,
    BATCH,
    BLOCK,
    CONTEXT,
    DECODES,
    DONE,
    DRAINED,
    DRAINING,
    ENDS,
    HEAP,
    IN_FLIGHT,
    NONE,
    NOT_DECODING,
    PREEMPTIONS,
    Q_ADMITTED,
    Q_BASE,
    Q_COMPUTED,
    Q_FINISH,
    Q_FOLLOWING,
    Q_OUTPUT,
    Q_PREEMPTED,
    Q_PRODUCED,
    Q_STATUS,
    QUEUE_HEAD,
    QUEUE_TAIL,
    QUEUED,
    RUNS,
    STEP,
    SUCCESSES,
    T_LAST,
    WAITING,
    Ints,
    State,
)

# -- the queue in front of the batch -------------------------------------------------------------


@inner
def enqueue(s: State, r: int, request: int) -> None:
    """Put a request behind those that wait."""
    number = s.number[r]
    s.request[request, Q_STATUS] = WAITING
    s.request[request, Q_FOLLOWING] = NONE
    if number[QUEUED] == 0:
        number[QUEUE_HEAD] = request
    else:
        s.request[number[QUEUE_TAIL], Q_FOLLOWING] = request
    number[QUEUE_TAIL] = request
    number[QUEUED] += 1


@inner
def enqueue_first(s: State, r: int, request: int) -> None:
    """Put a request before those that wait."""
    number = s.number[r]
    s.request[request, Q_STATUS] = WAITING
    s.request[request, Q_FOLLOWING] = number[QUEUE_HEAD] if number[QUEUED] else NONE
    if number[QUEUED] == 0:
        number[QUEUE_TAIL] = request
    number[QUEUE_HEAD] = request
    number[QUEUED] += 1


@inner
def dequeue(s: State, r: int) -> int:
    """The request that waited longest; there is one."""
    number = s.number[r]
    request = number[QUEUE_HEAD]
    number[QUEUE_HEAD] = s.request[request, Q_FOLLOWING]
    number[QUEUED] -= 1
    return request


# -- a heap of those that decode: by their last step, then by admission --------------------------


@inner
def _is_before(s: State, one: int, other: int) -> bool:
    if s.request[one, Q_FINISH] != s.request[other, Q_FINISH]:
        return s.request[one, Q_FINISH] < s.request[other, Q_FINISH]
    return s.request[one, Q_ADMITTED] < s.request[other, Q_ADMITTED]


@inner
def _rise(s: State, heap: Ints, at: int) -> None:
    request = heap[at]
    while at > 0:
        parent = (at - 1) // 2
        if not _is_before(s, request, heap[parent]):
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = request


@inner
def _sink(s: State, heap: Ints, at: int, size: int) -> None:
    request = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _is_before(s, heap[child + 1], heap[child]):
            child += 1
        if not _is_before(s, heap[child], request):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = request


@inner
def start_decoding(s: State, r: int, request: int) -> None:
    """From the coming step on the request makes a token a step. ``computed`` is up to date."""
    number, size = s.number[r], s.app[s.number[r, APP], BLOCK]
    base = s.request[request, Q_COMPUTED] - number[STEP]
    s.request[request, Q_BASE] = base
    s.request[request, Q_FINISH] = (
        number[STEP] + s.request[request, Q_OUTPUT] - s.request[request, Q_PRODUCED]
    )
    s.residues[r, -base % size] += 1
    s.lists[r, HEAP, number[DECODES]] = request
    _rise(s, s.lists[r, HEAP], number[DECODES])
    number[DECODES] += 1
    number[CONTEXT] += s.request[request, Q_COMPUTED]


@inner
def stop_decoding(s: State, r: int, request: int) -> None:
    """Out of the heap, with ``computed`` and ``produced`` brought up to date."""
    number, size = s.number[r], s.app[s.number[r, APP], BLOCK]
    heap, count = s.lists[r, HEAP], number[DECODES] - 1
    at = 0
    while heap[at] != request:
        at += 1
    heap[at] = heap[count]
    number[DECODES] = count
    if at < count:
        _sink(s, heap, at, count)
        _rise(s, heap, at)
    base = s.request[request, Q_BASE]
    s.request[request, Q_COMPUTED] = base + number[STEP]
    s.request[request, Q_PRODUCED] = s.request[request, Q_OUTPUT] - (
        s.request[request, Q_FINISH] - number[STEP]
    )
    s.residues[r, -base % size] -= 1
    number[CONTEXT] -= s.request[request, Q_COMPUTED]


# -- the batch in the order of admission ---------------------------------------------------------


@inner
def leave_batch(s: State, r: int, request: int) -> None:
    """Take a request out of the order."""
    batch, count = s.lists[r, BATCH], s.number[r, RUNS]
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if s.request[batch[middle], Q_ADMITTED] < s.request[request, Q_ADMITTED]:
            low = middle + 1
        else:
            high = middle
    for at in range(low, count - 1):
        batch[at] = batch[at + 1]
    s.number[r, RUNS] = count - 1


@inner
def preempt_last(s: State, r: int, now: float) -> int:
    """Send the last one back to the queue; all its tokens are to be computed anew."""
    number = s.number[r]
    victim = s.lists[r, BATCH, number[RUNS] - 1]
    number[RUNS] -= 1
    if s.request[victim, Q_BASE] != NOT_DECODING:
        stop_decoding(s, r, victim)
        s.request[victim, Q_BASE] = NOT_DECODING
        s.times[victim, T_LAST] = now  # its newest token came with the step that is just over
    release(s, r, victim, s.request[victim, Q_COMPUTED])
    s.request[victim, Q_COMPUTED] = 0
    s.request[victim, Q_PREEMPTED] += 1
    number[PREEMPTIONS] += 1
    enqueue_first(s, r, victim)
    return victim


@inner
def finish(s: State, r: int, request: int, now: float) -> None:
    """The last token of a request was made. It is out of the heap."""
    number = s.number[r]
    leave_batch(s, r, request)
    release(s, r, request, s.request[request, Q_COMPUTED])
    s.request[request, Q_STATUS] = DONE
    s.times[request, T_LAST] = now
    number[SUCCESSES] += 1
    s.log[1, s.world[ENDS]] = request
    s.world[ENDS] += 1
    left(s, r, now)


@inner
def left(s: State, r: int, now: float) -> None:
    """A request that was at the replica is not there any more."""
    number = s.number[r]
    number[IN_FLIGHT] -= 1
    if number[DRAINING] and number[IN_FLIGHT] == 0:
        s.clock[r, DRAINED] = now
