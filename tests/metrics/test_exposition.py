from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from stoker.errors import InputError
from stoker.metrics import exposition
from stoker.metrics.exposition import Metadata, PageParser, format_sample, parse_page
from stoker.metrics.sample import METRIC_NAME, Labels, format_value

PAGE = Path(__file__).parents[1] / "data/vllm/metrics_load.txt"


def one(line: str, **kwargs):
    (sample,) = parse_page(line + "\n", **kwargs)
    return sample


@pytest.mark.parametrize(
    ("line", "labels", "value", "timestamp"),
    [
        pytest.param("x 1", "x", 1.0, None, id="bare"),
        pytest.param("x{} 1", "x", 1.0, None, id="no labels"),
        pytest.param('x{a="1",b="2"} 1', 'x{a="1", b="2"}', 1.0, None, id="labels"),
        pytest.param('x{a="1",} 1', 'x{a="1"}', 1.0, None, id="trailing comma"),
        pytest.param('x { a = "1" , b = "2" } 1', 'x{a="1", b="2"}', 1.0, None, id="spaces"),
        pytest.param("\tx\t1  ", "x", 1.0, None, id="tabs"),
        pytest.param('x{a="} 5"} 1', 'x{a="} 5"}', 1.0, None, id="brace in value"),
        pytest.param(r'x{a="q\"\\\n"} 1', r'x{a="q\"\\\n"}', 1.0, None, id="escapes"),
        pytest.param('x{a=""} 1', "x", 1.0, None, id="empty value is no label"),
        pytest.param("x +Inf", "x", float("inf"), None, id="infinity"),
        pytest.param("x 1.5e3 1700000000123", "x", 1500.0, 1700000000.123, id="timestamp in ms"),
        pytest.param("x 1 -5", "x", 1.0, -0.005, id="negative timestamp"),
        pytest.param('{"my.metric",a="1"} 1', '{"my.metric", a="1"}', 1.0, None, id="UTF-8 name"),
        pytest.param('x{"a.b"="1"} 1', 'x{"a.b"="1"}', 1.0, None, id="UTF-8 label"),
        pytest.param("vllm:x_total 1", "vllm:x_total", 1.0, None, id="colon"),
        pytest.param('x{a="größe"} 1', 'x{a="größe"}', 1.0, None, id="unicode value"),
    ],
)
def test_line_is_read(line, labels, value, timestamp):
    sample = one(line)
    assert (str(sample.labels), sample.value, sample.timestamp) == (labels, value, timestamp)


def test_openmetrics_has_seconds_and_exemplars_that_are_skipped():
    lines = [
        'x_total{a="1"} 3 1700000000.5 # {trace="t"} 0.7 1700000000.1',
        'y_bucket{le="1"} 2 # {t="u"} 1',
        "# EOF\n",
    ]
    first, second = parse_page("\n".join(lines), format_="openmetrics")
    assert (first.value, first.timestamp) == (3.0, 1700000000.5)
    assert (second.value, second.timestamp) == (2.0, None)


def test_openmetrics_page_that_was_cut_off_is_refused():
    with pytest.raises(InputError, match="must end with `# EOF`"):
        parse_page("x 1\n", format_="openmetrics")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("x", "expected a value", id="no value"),
        pytest.param("x one", "`one` is not a number", id="not a number"),
        pytest.param("x 1_0", "`1_0` is not a number", id="underscore"),
        pytest.param("x 1 2 3", "at most a value and a timestamp", id="too much"),
        pytest.param('x{a="1" 1', "expected `,` or `}`", id="no closing brace"),
        pytest.param("x{a=1} 1", "expected a quoted value for label `a`", id="not quoted"),
        pytest.param('x{a="1 1', "expected a quoted value", id="no closing quote"),
        pytest.param('x{a="1",a="2"} 1', "label `a` is given twice", id="twice"),
        pytest.param('{a="1"} 1', "needs a metric name", id="no name"),
        pytest.param("5x 1", "expected a metric name", id="bad name"),
        pytest.param("# TYPE x speed", "unknown metric type `speed`", id="type"),
    ],
)
def test_mistake_is_told_with_its_line(line, words):
    with pytest.raises(InputError, match=words) as caught:
        parse_page(f"# HELP ok fine\nok 1\n{line}\n", source="http://a/metrics")
    assert str(caught.value.place) == "http://a/metrics:3"


def test_metadata_is_kept():
    parser = PageParser()
    list(parser.parse("# HELP x What it\\nis.\n# TYPE x counter\n# a comment\nx 1\n"))
    assert parser.metadata == {"x": Metadata("counter", "What it\nis.")}


def test_known_line_with_a_bad_value_is_still_refused():
    parser = PageParser()
    list(parser.parse("x 1\n"))
    with pytest.raises(InputError, match="not a number"):
        list(parser.parse("x one\n"))


def test_second_page_gives_the_same_as_a_fresh_parser():
    text = PAGE.read_text()
    parser = PageParser()
    assert list(parser.parse(text)) == list(parser.parse(text)) == parse_page(text)


def test_real_page_is_read_as_prometheus_client_reads_it():
    text = PAGE.read_text()
    theirs = {
        Labels({METRIC_NAME: sample.name, **sample.labels}): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    ours = {sample.labels: sample.value for sample in parse_page(text)}
    assert len(ours) > 500
    assert ours == theirs


LABELS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1, max_size=8
    ),
    max_size=4,
)


@given(LABELS, st.floats(width=64), st.one_of(st.none(), st.integers(-(10**13), 10**13)))
def test_what_is_written_is_read_again(labels, value, stamp):
    labels = Labels({**labels, METRIC_NAME: "x"})
    sample = one(format_sample(labels, format_value(value), stamp))
    assert sample.labels is labels
    assert format_value(sample.value) == format_value(value)
    assert sample.timestamp == (None if stamp is None else stamp / 1000)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(InputError):
        assert len(parse_page(text)) <= text.count("\n") + 1


TORN = [
    *("x", '{a="1"}', '{a="1",b="2"}', '{b="2",a="1"}', '{a="1",a="2"}', '{a="1",}', "{}", "{"),
    *("}", '{a="1"', "{a=1}", r'{a="x\"y"}', '{a="1" ,b="2"}', '{a=""}', '{A="1"}', '{"y.z"}'),
    *('{__name__="y"}', '{"q"="1"}', '{a="},"}', '{a="b",c="}"}', '{a="1"b="2"}', ' {a="é"}'),
]
NAMES = ["x", "a:b", "", "1x", "é"]


@given(st.sampled_from(NAMES), st.sampled_from(TORN), st.sampled_from(["1", "1_0", "NaN", ""]))
def test_line_means_the_same_read_quickly_and_with_care(name, body, value):
    line = f"{name}{body} {value}"

    def read(parser: PageParser):
        try:
            return [(sample.labels, str(sample.value)) for sample in parser.parse(line)]
        except InputError as error:
            return error.message

    careful = PageParser()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exposition._QuickLabels, "labels", lambda *_: None)
        expected = read(careful)
    parser = PageParser()
    assert read(parser) == expected
    assert read(parser) == expected  # the second time it is known
    assert read(PageParser()) == expected  # and to other targets, too


def test_digit_separators_are_no_number_on_a_known_line_either():
    parser = PageParser()
    list(parser.parse("x 1\n"))
    with pytest.raises(InputError, match="`1_0` is not a number"):
        list(parser.parse("x 1_0\n"))


def test_what_all_pages_share_is_bounded(monkeypatch):
    monkeypatch.setattr(exposition, "_MAX_SHARED", 100)
    for turn in range(3):
        list(PageParser().lines("\n".join(f"bounded{turn}_{i} 1" for i in range(90))))
        assert len(exposition._shared) <= 100


@pytest.mark.parametrize("torn", ["torn{", "torn}", 'torn{a="1"', "torn{}x"])
def test_torn_line_is_refused_also_behind_one_without_labels(torn):
    with pytest.raises(InputError):
        parse_page(f"whole 1\n{torn} 1\n")
    with pytest.raises(InputError):
        parse_page(f"{torn} 1\n")
