"""The arrays. A row is a request, a replica or an application; columns are named below.

Requests are numbered as they arrive, replicas by slots that are used again, applications (a model
server and what scales it) as the files have them. Times are seconds since the start of the run.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NONE: Final = -1  # no request, no replica
NOT_DECODING: Final = -(2**62)  # in place of Q_BASE

# What becomes of a request.
COMING, HELD, WAITING, RUNNING, DONE = range(5)
BROKEN, TIMED_OUT, REFUSED, TOO_LONG, ABANDONED, LOST = range(5, 11)
STATUSES: Final = (
    *("coming", "held", "waiting", "running", "done"),
    *("broken", "timed_out", "refused", "too_long", "abandoned", "lost"),
)

# What a replica is doing: nothing, about to begin, a step with prompts in it, a run of decode steps
IDLE, WAKING, MIXED, DECODING = range(4)

# Columns of `times`, by request: seconds, NaN while it has not happened.
T_ARRIVED, T_SENT, T_SCHEDULED, T_FIRST, T_LAST = range(5)
T_TOKEN: Final = 5  # the newest token of a request that was abandoned
# Of a request whose replica was lost: since when it waits again, until when those that failed it
# get nothing of it, and the seconds that it waited at the gateway before it was sent.
T_SINCE, T_RESUMES, T_WAITED = range(6, 9)
TIMES: Final = 9

# Columns of `request`.
(
    Q_PROMPT,
    Q_OUTPUT,
    Q_APP,
    Q_STATUS,
    Q_REPLICA,
    Q_PRODUCED,  # tokens of the answer, not kept while the request decodes
    Q_COMPUTED,  # tokens in the cache, not kept while the request decodes
    Q_BASE,  # of a request that decodes: it has Q_BASE + STEP tokens in the cache
    Q_FINISH,  # of a request that decodes: the STEP after its last token
    Q_ADMITTED,  # orders the batch
    Q_CACHED,  # tokens of the prompt that were in the cache
    Q_PREEMPTED,  # how often
    Q_FOLLOWING,  # the next in the same queue
    Q_HASHES,  # its prompt blocks are rows Q_HASHES to Q_HASHES_END of `blocks`
    Q_HASHES_END,
    Q_KNOWN,  # how many of these were offered to the cache
    Q_SHARED,  # how many of these are shared
    Q_RETRIES,
    Q_LOST_FIRST,  # pods that were lost with it
    Q_LOST_SECOND,
    Q_TRIED,  # which of these it does not go to: 1, 2, or both
    Q_PAUSES,  # how often it waited for a second chance
) = range(22)
QUANTITIES: Final = 22

# Columns of `blocks`, by prompt block of a request.
CONTENT, MINE = range(2)  # the number of its hash, and whether the request holds it as a shared one

# Columns of `clock`: seconds, by replica.
START, FIRST, MORE, DRAINED, GAP_SUM, READY_AT = range(6)
CLOCKS: Final = 6

# Rows of `lists`, by replica: requests.
BATCH, HEAP, PARTS_OF, TOKENS_OF = range(4)
LISTS: Final = 4

# Rows of `cache`, by replica: for each hash its users, and its neighbours if it is idle.
USERS, OLDER, NEWER = range(3)
CACHES: Final = 3

# Columns of `number`, by replica.
(
    PLAN,
    STEPS,  # of the run that is under way
    STEP,  # number of the next step to end
    DECODES,  # sequences that decode
    CONTEXT,  # tokens in the cache of these, when STEP began
    RUNS,  # requests in the batch, one of which may still be at its prompt
    PARTS,  # prompts in the step that is under way
    DECODES_BEFORE,  # that a step with prompts was planned with
    QUEUED,
    QUEUE_HEAD,
    QUEUE_TAIL,
    IN_FLIGHT,
    ADMISSIONS,
    PRIVATE,  # blocks in use that nobody shares
    SHARED,  # prompt blocks in use, each counted once; times BLOCKS_PER_HASH
    IDLE_HASHES,  # kept for reuse
    OLDEST,
    NEWEST,
    APP,
    ROUTABLE,
    DRAINING,
    TURN,
    PROMPT_TOKENS,
    CACHED_TOKENS,
    GENERATED_TOKENS,
    PREFIX_QUERIES,
    PREFIX_HITS,
    PREEMPTIONS,
    SUCCESSES,
    ABORTS,
    POD,  # a number of its own; that of a container that is started anew stays the same
) = range(31)
NUMBERS: Final = 31

# Columns of `rate`: milliseconds, by application.
WEIGHTS, PREFILL, SEQUENCE, KV = range(4)
HOLD_TIMEOUT, SLOW_START, PACE = range(4, 7)  # of the gateway: seconds, and requests a second
PATIENCE: Final = 7  # of clients, the same for all: for the first token, and for the last
BUDGET: Final = 9  # of retries: what is left
RATES: Final = 10

# Columns of `app`: limits of its engines, and its queue at the gateway.
MAX_SEQS, MAX_TOKENS, CAPACITY, BLOCK, CHUNKED, BLOCKS_PER_HASH, HELD_LIMIT, BURST = range(8)
HELD_COUNT, HELD_HEAD, HELD_TAIL, PUSH = range(8, 12)
AGAIN_COUNT, AGAIN_HEAD, AGAIN_TAIL = range(12, 15)  # those that were at a replica before
APPS: Final = 15

# Elements of `world`.
NEXT, TURNS, EVENT, FIRSTS, ENDS = range(5)
GIVING_UP: Final = 5  # the request whose client gives up next: without a first token, or a last
WORLD: Final = 7
NOTHING, REPLICA_DRAINED, REQUEST_HELD = range(3)  # EVENT: why `run` came back early


class State(NamedTuple):
    """Everything that the compiled functions read and write.

    Few arrays with many columns: the compiler needs a minute for forty arrays.
    """

    times: Floats  # (request, TIMES)
    request: Ints  # (request, QUANTITIES)
    blocks: Ints  # (prompt block, 2)
    log: Ints  # (2, requests): those that had their first token, those that ended, in this order
    clock: Floats  # (replica, CLOCKS)
    number: Ints  # (replica, NUMBERS)
    lists: Ints  # (replica, LISTS, max_num_seqs)
    residues: Ints  # (replica, block size) sequences that need a block when STEP % size is this
    cache: Ints  # (replica, CACHES, hashes)
    gaps: Ints  # (replica, coarse buckets) between two tokens
    rate: Floats  # (application, RATES)
    app: Ints  # (application, APPS)
    fine: Ints  # (application, fine buckets)
    coarse_bounds: Floats
    fine_bounds: Floats
    world: Ints
