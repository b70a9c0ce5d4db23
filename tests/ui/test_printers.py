from __future__ import annotations

import json
import re
from datetime import datetime

import pytest
import yaml

from stoker.api.kinds import DEPLOYMENT, EVENT, HPA, POD, SCALED_OBJECT
from stoker.errors import InputError
from stoker.ui.columns import columns_of
from stoker.ui.printers import (
    ObjectTable,
    TableOptions,
    as_json,
    as_yaml,
    name_line,
    selected,
    sort_by,
)
from stoker.ui.tabs import TablePrinter

NAMES = ["active", "badauth", "error", "fallback", "formula", "paused", "pausedat2", "wake", "zero"]


def load(recorded, kind, name, folder="steady"):
    text = (recorded / folder / f"get_{kind}_llama-{name}_yaml.txt").read_text()
    return yaml.safe_load(text)


def created(found):
    return datetime.fromisoformat(found["metadata"]["creationTimestamp"]).timestamp()


def cells_of(line):
    """The cells of a recorded line, whose columns stand at least three spaces apart."""
    return re.split(r"\s{3,}", line.rstrip("\n"))


def test_scaled_objects_are_printed_byte_by_byte_as_kubectl_does(recorded):
    objects = [load(recorded, "so", name) for name in NAMES]
    # They were made within two seconds, but the recording says 109 s for each.
    now = created(objects[0]) + 109
    for found in objects:
        found["metadata"]["creationTimestamp"] = objects[0]["metadata"]["creationTimestamp"]
    text = ObjectTable(SCALED_OBJECT, TableOptions()).part(objects, now)
    assert text == (recorded / "steady" / "get_scaledobjects.txt").read_text()


def test_wide_adds_nothing_to_scaled_objects():
    assert columns_of(SCALED_OBJECT, wide=True) == columns_of(SCALED_OBJECT)


def test_hpas_are_printed_byte_by_byte_as_kubectl_does(recorded):
    lines = (recorded / "steady" / "get_hpa.txt").read_text().splitlines(keepends=True)
    with_hpa = [name for name in NAMES if not name.startswith("paused")]
    objects = [load(recorded, "hpa", name) for name in with_hpa]
    now = created(objects[0]) + 109
    for found, line in zip(objects, lines[1:], strict=True):
        told = cells_of(line)[-1]  # 108s or 109s
        epoch = datetime.fromtimestamp(now - int(told[:-1])).astimezone()
        found["metadata"]["creationTimestamp"] = epoch.isoformat()
    assert ObjectTable(HPA, TableOptions()).part(objects, now) == "".join(lines)


def test_labels_come_last(recorded):
    objects = [load(recorded, "so", name) for name in NAMES]
    for found in objects:
        found["metadata"]["creationTimestamp"] = objects[0]["metadata"]["creationTimestamp"]
    table = ObjectTable(SCALED_OBJECT, TableOptions(show_labels=True))
    text = table.part(objects, created(objects[0]) + 110)
    assert text == (recorded / "steady" / "get_so_showlabels.txt").read_text()


def test_without_headings_a_table_is_narrower(recorded):
    objects = [load(recorded, "so", name) for name in NAMES]
    for found in objects:
        found["metadata"]["creationTimestamp"] = objects[0]["metadata"]["creationTimestamp"]
    table = ObjectTable(SCALED_OBJECT, TableOptions(headers=False))
    text = table.part(objects, created(objects[0]) + 111)
    assert text == (recorded / "steady" / "get_so_noheaders.txt").read_text()


def test_names_carry_kind_and_group(recorded):
    objects = [load(recorded, "so", name) for name in NAMES]
    text = "".join(name_line(found) for found in objects)
    assert text == (recorded / "steady" / "get_so_name.txt").read_text()


def test_several_kinds_at_once_put_the_kind_before_the_name(recorded):
    objects = [load(recorded, "so", name) for name in NAMES]
    for found in objects:
        found["metadata"]["creationTimestamp"] = objects[0]["metadata"]["creationTimestamp"]
    table = ObjectTable(SCALED_OBJECT, TableOptions(with_kind=True))
    text = table.part(objects, created(objects[0]) + 110)
    expected = (recorded / "steady" / "get_so_hpa_deploy.txt").read_text().split("\n\n")[0]
    assert text == expected + "\n"


def test_a_namespace_column_comes_first():
    text = ObjectTable(POD, TableOptions(with_namespace=True)).part([a_pod()], 5.0)
    assert text == (
        "NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE\n"
        "default     p-1    1/1     Running   0          5s\n"
    )


@pytest.mark.parametrize("topic", ["hpa", "hpa_events", "deploy", "pods", "so"])
def test_a_watch_pads_each_part_as_kubectl_does(recorded, topic):
    """Every recorded line, cut into its cells, comes out again as it went in."""
    lines = (recorded / "watch" / f"watch_{topic}.txt").read_text().splitlines(keepends=True)
    headings = cells_of(lines[0])
    if topic == "so":
        check_so_watch(lines, headings)
        return
    printer, printed = TablePrinter(), ""
    parts, width = [[headings]], None
    for line in lines[1:]:
        starts = [line.index(cell) for cell in cells_of(line)]
        # Lines whose columns stand at the same places may come from one part or from several.
        if parts and width in (None, starts):
            parts[-1].append(cells_of(line))
        else:
            parts.append([cells_of(line)])
        width = starts
    if topic == "hpa_events":  # the first column is as wide as MODIFIED from the start
        parts = [[[cells[0].ljust(8), *cells[1:]] for cells in part] for part in parts]
        parts[0][0][0] = "EVENT"
    for part in parts:
        printed += printer.rows(part)
    assert printed == "".join(lines)


def check_so_watch(lines, headings):
    """Cells may be empty here: they are cut at the widths that the printer had at that line."""
    widths = [len(heading) + 3 for heading in headings]
    widths = [max(width, 6) for width in widths]
    printer, printed, part = TablePrinter(), "", [headings]
    for line in lines[1:]:
        name, target = line.split()[0], re.findall(r"llama-\S+", line)[1]
        kind = "apps/v1.Deployment" if "apps/v1.Deployment" in line else ""
        rest = line[line.index(target, len(name)) :]
        wanted = [max(widths[0], len(name) + 3), max(widths[1], len(kind) + 3)]
        grown = [*wanted, max(widths[2], len(target) + 3), *widths[3:]]
        tail = rest[grown[2] :].rstrip("\n")
        cells = [name, kind, target]
        for column in range(3, len(headings) - 1):
            width = grown[column]
            cell = re.match(r"\S*", tail)[0]
            grown[column] = max(width, len(cell) + 3)
            cells.append(cell)
            tail = tail[grown[column] :]
        cells.append(tail.strip())
        if grown != widths and line is not lines[1]:  # the first comes with the headings
            printed += printer.rows(part)
            part = []
        widths = grown
        part.append(cells)
    printed += printer.rows(part)
    assert printed == "".join(lines)


def a_pod(**status):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p-1",
            "namespace": "default",
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "labels": {"app": "p", "tier": "one"},
        },
        "spec": {"containers": [{"name": "vllm"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "vllm", "ready": True, "restartCount": 0, "state": {"running": {}}}
            ],
            **status,
        },
    }


def crashed(**more):
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"finishedAt": "1970-01-01T00:00:30Z"}}
    return {
        "name": "vllm",
        "ready": False,
        "restartCount": 4,
        "state": state,
        "lastState": last,
        **more,
    }


def test_a_crashing_pod_tells_its_restarts_and_when_the_last_was():
    pod = a_pod(containerStatuses=[crashed()])
    line = ObjectTable(POD, TableOptions(headers=False)).part([pod], 75.0)
    assert line.split("   ") == ["p-1", "0/1", "CrashLoopBackOff", "4 (45s ago)", "75s\n"]


def test_a_pod_that_goes_is_terminating_whatever_its_container_says():
    pod = a_pod()
    pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:01Z"
    assert "Terminating" in ObjectTable(POD, TableOptions()).part([pod], 2.0)


def test_a_deployment_counts_ready_replicas_of_those_wanted():
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "d", "creationTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"replicas": 3},
        "status": {"readyReplicas": 1, "updatedReplicas": 3, "availableReplicas": 1},
    }
    line = ObjectTable(DEPLOYMENT, TableOptions(headers=False)).part([deployment], 9.0)
    assert line.split() == ["d", "1/3", "3", "1", "9s"]


def test_an_event_shows_when_it_was_last_seen_and_about_what(recorded):
    event = {
        "kind": "Event",
        "metadata": {"name": "x.1", "creationTimestamp": "1970-01-01T00:00:00Z"},
        "involvedObject": {"kind": "ScaledObject", "name": "llama-active"},
        "type": "Normal",
        "reason": "ScaledObjectReady",
        "message": "ScaledObject is ready for scaling ",
        "lastTimestamp": "1970-01-01T00:00:10Z",
    }
    heading, line = ObjectTable(EVENT, TableOptions()).part([event], 119.0).splitlines()
    recorded_lines = (recorded / "steady" / "get_events.txt").read_text().splitlines()
    assert cells_of(heading) == cells_of(recorded_lines[0])
    expected = "109s|Normal|ScaledObjectReady|scaledobject/llama-active|"
    assert "|".join(cells_of(line)) == expected + "ScaledObject is ready for scaling"


def test_more_than_two_metrics_are_counted():
    metrics = [
        {"external": {"metric": {"name": f"s{n}"}, "target": {"averageValue": "5"}}}
        for n in range(4)
    ]
    hpa = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "creationTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "maxReplicas": 3,
            "metrics": metrics,
        },
        "status": {},
    }
    text = ObjectTable(HPA, TableOptions(headers=False)).part([hpa], 1.0)
    assert "<unknown>/5 (avg), <unknown>/5 (avg) + 2 more..." in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["so", "hpa"])
def test_yaml_is_what_kubectl_writes(recorded, kind, name):
    path = recorded / "steady" / f"get_{kind}_llama-{name}_yaml.txt"
    if not path.exists():  # a paused object has no HPA
        assert name.startswith("paused")
        return
    text = path.read_text()
    assert as_yaml([yaml.safe_load(text)], single=True) == text


def test_several_objects_become_a_list():
    document = json.loads(as_json([a_pod(), a_pod()], single=False))
    assert (document["kind"], len(document["items"])) == ("List", 2)


@pytest.mark.parametrize(
    ("selector", "count"),
    [("app=p", 1), ("app==p,tier=two", 0), ("tier!=two", 1), ("tier", 1), ("!tier", 0), ("", 1)],
)
def test_a_selector_chooses_by_labels(selector, count):
    assert len(selected([a_pod()], selector)) == count


def test_a_selector_that_is_not_understood_is_an_error():
    with pytest.raises(InputError, match="not understood"):
        selected([a_pod()], "app in (p)")


def test_objects_can_be_sorted_by_any_field():
    pods = [a_pod(startTime=time) for time in ("b", "a")]
    by_time = sort_by(pods, "{.status.startTime}")
    assert [pod["status"]["startTime"] for pod in by_time] == ["a", "b"]
