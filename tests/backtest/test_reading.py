from __future__ import annotations

import gzip
import json
import sys

import pytest

from stoker.backtest.reading import read_answer, read_metrics
from stoker.errors import InputError, MachineError

from .conftest import a_spec, trigger, walk

MATRIX = [{"metric": {"pod": "a"}, "values": [[100, "1"], [115, "2.5"]]}]
ANSWER = {"status": "success", "data": {"resultType": "matrix", "result": MATRIX}}


@pytest.mark.parametrize(
    "document", [ANSWER, ANSWER["data"], MATRIX], ids=["whole", "data", "bare"]
)
def test_a_saved_answer_is_read(tmp_path, document) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(document))

    (track,) = read_answer(file).tracks

    assert (list(track.times), list(track.values)) == ([100, 115], [1.0, 2.5])
    assert track.labels == {"pod": "a"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ('{"status": "error", "error": "bad query"}', "bad query"),
        ('{"data": {"resultType": "vector", "result": []}}', "found vector"),
        ('{"data": {"resultType": "matrix", "result": {}}}', "list of series"),
        ('[{"metric": {}, "values": [[1]]}]', "a series must be"),
        ('["x"]', "a series must be"),
        ('[{"metric": {}, "values": [[NaN, "1"]]}]', "a series must be"),
    ],
)
def test_an_answer_that_is_none_is_told_with_its_file(tmp_path, text, told) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)

    with pytest.raises(InputError, match=told) as error:
        read_metrics([str(file)])
    assert error.value.place.file == str(file)


def table(tmp_path, text):
    file = tmp_path / "t.csv"
    file.write_text(text)
    return read_metrics([str(file)])


@pytest.mark.parametrize(
    "first",
    ["1795000000", "1795000000000", "2026-11-18T11:06:40Z", "2026-11-18 11:06:40", "1795000000.0"],
)
def test_times_of_a_table_are_seconds_milliseconds_or_dates(tmp_path, first) -> None:
    assert table(tmp_path, f"Time,queue\n{first},1\n").span == (1795000000, 1795000000)


def test_cells_are_numbers_or_empty_or_error(tmp_path) -> None:
    found = table(tmp_path, "time,queue,other\n0,1,\n15,error,2e3\n30,NaN,null\n")

    queue, other = found.columns
    assert list(queue.tracks[0].times) == [0, 15, 30]
    assert queue.tracks[0].values[:2] == [1.0, None]
    assert (list(other.tracks[0].times), list(other.tracks[0].values)) == ([15], [2000.0])


@pytest.mark.parametrize("mark", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_cells_stand_apart_by_what_the_head_line_has(tmp_path, mark) -> None:
    (queue,) = table(tmp_path, f"time{mark}queue\n0{mark}1.5\n").columns

    assert list(queue.tracks[0].values) == [1.5]


@pytest.mark.parametrize("t", ["-5", "1e15", "1e308"])
def test_a_time_that_no_calendar_has_is_told(tmp_path, t) -> None:
    with pytest.raises(InputError, match="before 1970 or after 9999"):
        _ = table(tmp_path, f"time,queue\n{t},1\n").span


def test_rows_may_come_in_any_order(tmp_path) -> None:
    (queue,) = table(tmp_path, "time,queue\n30,3\n0,1\n").columns

    assert (list(queue.tracks[0].times), list(queue.tracks[0].values)) == ([0, 30], [1.0, 3.0])


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("", "empty", None),
        ("a,b\n1,2\n", "no column of times", 1),
        ("time\n1\n", "no column beside", 1),
        ("time,q\n1,2\n2\n", "1 cells in a table of 2", 3),
        ("time,q\n1,x\n", "`x` in column q is not a number", 2),
        ("time,q\nyesterday,1\n", "`yesterday` is not a time", 2),
        ("time,q\nnan,1\n", "not a time", 2),
    ],
)
def test_a_wrong_table_is_told_with_its_line(tmp_path, text, told, line) -> None:
    with pytest.raises(InputError, match=told) as error:
        table(tmp_path, text)
    assert error.value.place.line == line


def test_parquet_is_read_as_csv_is(tmp_path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    at = pa.array([1795000000_000, 1795000015_000], pa.timestamp("ms"))
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"time": at, "queue": [1.5, None]}), file)

    (queue,) = read_metrics([str(file)]).columns

    assert (list(queue.tracks[0].times), list(queue.tracks[0].values)) == ([1795000000], [1.5])
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_metrics([str(tmp_path / "bad.parquet")])


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MachineError) as error:
        read_metrics([str(tmp_path / "t.parquet")])
    assert "stoker[parquet]" in error.value.hint


OPENMETRICS = """\
# TYPE waiting gauge
waiting{pod="a"} 3 100
waiting{pod="a"} 6 130
waiting{pod="b"} 4 130
# TYPE done counter
done_total{pod="a"} 1 100
# EOF
"""


@pytest.mark.parametrize("scale", [1, 1000], ids=["openmetrics", "prometheus"])
def test_the_files_own_query_is_evaluated_on_text_with_times(tmp_path, scale) -> None:
    file = tmp_path / "dump.txt"
    text = OPENMETRICS if scale == 1 else OPENMETRICS.replace("# EOF\n", "")
    if scale == 1000:
        text = text.replace(" 100\n", " 100000\n").replace(" 130\n", " 130000\n")
    file.write_text(text)
    recorded = read_metrics([str(file)])

    found = walk(a_spec(), recorded, 130, start=100)

    assert recorded.span == (100, 130)
    assert [t.values[0].value for t in found] == [3, 3, 10, 10]  # sum(waiting)


def test_a_line_without_a_time_is_refused(tmp_path) -> None:
    file = tmp_path / "page.prom"
    file.write_text("waiting 3\n")

    with pytest.raises(InputError, match="`waiting` has no time"):
        read_metrics([str(file)])


def test_series_without_a_match_are_missing(tmp_path) -> None:
    file = tmp_path / "page.om"
    file.write_text("other 3 100\nother 3 200\n# EOF\n")
    recorded = read_metrics([str(file)], missing="error")

    assert {t.readings[0].error for t in walk(a_spec(), recorded, 130, start=100)} == {
        "no sample in the series"
    }


def test_a_file_is_given_to_a_trigger_by_name(tmp_path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.json").write_text(
            json.dumps([{"metric": {}, "values": [[0, f"{value}"]]}])
        )
    recorded = read_metrics([f"s1-prometheus={tmp_path}/a.json", f"queue={tmp_path}/b.json"])

    first = walk(a_spec(trigger(0, "queue"), trigger(1)), recorded, 1)[0]

    assert [r.value for r in first.readings] == [2, 1]


def test_two_files_for_one_trigger_are_refused(tmp_path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(json.dumps(MATRIX))

    with pytest.raises(InputError, match=r"an unnamed trigger: a\.json and b\.json"):
        read_metrics([f"{tmp_path}/a.json", f"{tmp_path}/b.json"])


def test_a_name_that_cannot_be_given_is_refused(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("time,a,b\n0,1,2\n")
    (tmp_path / "t.om").write_text(OPENMETRICS)

    with pytest.raises(InputError, match="needs a file with one column"):
        read_metrics([f"queue={tmp_path}/t.csv"])
    with pytest.raises(InputError, match="it has series, not answers"):
        read_metrics([f"queue={tmp_path}/t.om"])


@pytest.mark.parametrize("name", ["no.json", "no.csv", "no.om"])
def test_a_file_that_is_not_there_is_told(tmp_path, name) -> None:
    with pytest.raises(InputError, match="cannot be read: no such file or directory"):
        read_metrics([str(tmp_path / name)])


def test_bytes_that_are_no_text_are_told(tmp_path) -> None:
    for name in ("a.json", "a.csv", "a.om"):
        (tmp_path / name).write_bytes(gzip.compress(b"x"))
        with pytest.raises(InputError, match=r"not UTF-8 text|not a CSV file"):
            read_metrics([str(tmp_path / name)])


def test_a_trigger_without_metrics_is_told_what_there_is(tmp_path) -> None:
    recorded = table(tmp_path, "time,a,b\n0,1,2\n")

    with pytest.raises(
        InputError, match=r"no metrics for trigger 0 \(queue or s0-prometheus\)"
    ) as e:
        recorded.query_for(trigger(0, "queue"), 1)
    assert "there is `a`, `b`" in e.value.hint
    with pytest.raises(InputError, match="no sample"):
        _ = table(tmp_path, "time,a\n0,\n").span
