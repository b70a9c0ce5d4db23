"""An answer that is remembered is the one that would have been computed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.backtest.run import _finished
from stoker.metrics.sample import Labels
from stoker.metrics.storage import Storage
from stoker.promql.parsing import parse
from stoker.replay.answers import Answers, is_timeless
from stoker.scaling.spec import TriggerSpec

QUERIES = (
    "sum(a)",
    "max by (pod) (a) > 1",
    "count(a == 0) or vector(7)",
    "sum(a offset 30s)",
    "sum(rate(a[1m]))",
    "time() - max(timestamp(a))",
    "avg(a) / scalar(count(a))",
    "-topk(1, a)",
    "sum(a @ 60)",
    "sort_desc(a)",
)
TRIGGER = TriggerSpec(0, "prometheus", {"query": "x", "serverAddress": "y", "threshold": "1"})


def test_what_depends_on_more_than_newest_values_is_known():
    timeless = {query for query in QUERIES if is_timeless(parse(query))}
    assert timeless == {
        "sum(a)",
        "max by (pod) (a) > 1",
        "count(a == 0) or vector(7)",
        "avg(a) / scalar(count(a))",
        "-topk(1, a)",
    }


_events = st.lists(
    st.tuples(
        st.integers(1, 60),  # seconds later
        st.sampled_from(["x", "y", "z"]),
        st.none() | st.integers(0, 3),  # None: the series ends
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(_events, st.sampled_from(QUERIES))
def test_answers_are_those_of_a_fresh_evaluation(events, query):
    storage = Storage()
    ask = Answers(storage).query_for(TRIGGER, 1)
    now = 1000.0
    for later, pod, value in events:
        now += later
        labels = Labels({"__name__": "a", "pod": pod})
        if value is None:
            storage.mark_stale(labels, now)
        else:
            storage.append(labels, now, float(value))
        for at in (now, now + 0.5, now + 290.0):
            fresh = Answers(storage).query_for(TRIGGER, 1)
            assert _finished(ask(query, at)) == _finished(fresh(query, at))
