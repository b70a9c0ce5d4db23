"""Whatever comes in: an answer or an error of ours, never a crash and never without bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import InputError
from stoker.metrics.exposition import PageParser, parse_page
from stoker.metrics.feed import Feed, PageTooLargeError
from stoker.metrics.remote_write import decode, uncompressed
from stoker.metrics.sample import EMPTY
from stoker.metrics.storage import Storage

LINES = st.sampled_from(
    [
        "# TYPE x counter",
        "# HELP x \\n text",
        "# EOF",
        'x{a="b"} 1',
        'x{a="b",} 1 1700000000000',
        '{"x y","z"="1"} NaN',
        'x{a="\\"} 1',
        "x 1 2 3",
        "x{",
        'x{a="b"} 1 # {t="1"} 1',
        "1x 1",
        "\x00",
        "é 1",
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(st.text(), st.lists(LINES).map("\n".join)),
    st.sampled_from(["prometheus", "openmetrics"]),
)
def test_any_page_is_read_or_refused(text, format_):
    try:
        parse_page(text, format_=format_)
    except InputError as error:
        assert error.place is not None  # noqa: PT017 - an answer is right, too


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([1, 2]))
def test_any_remote_write_is_read_or_refused(body, version):
    try:
        for series in decode(body, version=version):
            assert series.labels.name
    except InputError:
        return


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_any_snappy_block_is_read_or_refused(body):
    pytest.importorskip("cramjam")
    try:
        uncompressed(body)
    except InputError:
        return


def test_page_of_50_megabytes_gets_an_error():
    feed = Feed(Storage(), EMPTY)
    page = "\n".join(f'x{{a="{i:030}"}} 1' for i in range(1_300_000))
    assert len(page) > 50_000_000
    with pytest.raises(PageTooLargeError, match="sample limit"):
        feed.ingest(page, 0.0, sample_limit=100_000)


def test_page_that_keeps_inventing_labels_does_not_grow_the_storage():
    storage = Storage(max_series=1000)
    feed = Feed(storage, EMPTY)
    for turn in range(20):
        feed.ingest("\n".join(f'x{{a="{turn}-{i}"}} 1' for i in range(200)), 10.0 * turn)
    assert len(storage.series()) == 1000
    assert storage.refused["too_many_series"] > 0


def test_memory_of_a_parser_is_bounded():
    parser = PageParser()
    for turn in range(5):
        list(parser.lines("\n".join(f"x{turn}_{i} 1" for i in range(60_000))))
    assert len(parser._known) <= 260_000
