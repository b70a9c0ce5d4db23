"""Metadata against what a real KEDA 2.20.2 said of it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

from stoker.errors import InputError
from stoker.scaling.spec import MetricType, TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.registry import SUPPORTED, build_trigger

# v298: the value of a header is not repeated, it may be a credential
# v418: the trigger is built, the API server refuses its HPA
_DIFFER = {"v298", "v418"}


def refusal(triggers: list[dict[str, Any]]) -> str | None:
    """Why the first trigger that cannot be built cannot."""
    for index, trigger in enumerate(triggers):
        spec = TriggerSpec(
            index,
            trigger["type"],
            trigger["metadata"],
            metric_type=MetricType(trigger.get("metricType") or "AverageValue"),
        )
        try:
            build_trigger(spec, TriggerContext(query_for=lambda _: None))
        except InputError as error:
            return error.message
    return None


def test_metadata_is_refused_in_the_words_of_keda(shared_data: Path) -> None:
    differ, seen = set(), 0
    with gzip.open(shared_data / "kubernetes" / "validation.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        ready = ((row.get("keda") or {}).get("conditions") or {}).get("Ready")
        if row["kind"] != "ScaledObject" or not ready or row["strict"]["code"] != 201:
            continue
        if "manifest" not in row:
            continue  # YAML that only a parser can judge
        triggers = row["manifest"]["spec"]["triggers"]
        metric_types = {t.get("metricType") or "AverageValue" for t in triggers}
        if {t["type"] for t in triggers} - set(SUPPORTED) or metric_types - set(MetricType):
            continue
        seen += 1
        found = re.search(r"error parsing [\w ]+ metadata: .*", ready[2], re.DOTALL)
        # KEDA says it twice for prometheus
        recorded = found and re.sub(r"(error parsing [\w ]+ metadata: )\1", r"\1", found[0])
        if refusal(triggers) != recorded:
            differ.add(row["id"][:4])

    assert seen > 100
    assert differ == _DIFFER
