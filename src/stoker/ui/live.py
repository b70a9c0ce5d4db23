"""The live view: `stoker top` and the demo."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoker.api.views import ModelOverview, Overview
from stoker.clock import local_time
from stoker.ui.ages import human_duration
from stoker.ui.sparkline import sparkline

HISTORY = 60  # looks that a sparkline shows
_EVENTS = 6
_COLUMNS = ("MODEL", "REPLICAS", "WAITING", "RUNNING", "KV", "TOK/S", "TTFT P50 / P95", "HELD")


class History:
    """What the sparklines remember: requests that wait and replicas that are ready."""

    def __init__(self, length: int = HISTORY) -> None:
        self._length = length
        self._waiting: dict[str, deque[float]] = {}
        self._ready: dict[str, deque[float]] = {}

    def add(self, overview: Overview) -> None:
        """One more look."""
        for model in overview["models"]:
            name = model["deployment"]
            waiting = self._waiting.setdefault(name, deque(maxlen=self._length))
            waiting.append((model["waiting"] or 0.0) + model["held"])
            ready = self._ready.setdefault(name, deque(maxlen=self._length))
            ready.append(float(model["ready"]))

    def waiting(self, deployment: str) -> Sequence[float]:
        """Requests in the engines' queues and at the gateway, the newest last."""
        return tuple(self._waiting.get(deployment, ()))

    def ready(self, deployment: str) -> Sequence[float]:
        """Ready replicas, the newest last."""
        return tuple(self._ready.get(deployment, ()))


def render(overview: Overview, history: History) -> RenderableType:
    """The screen."""
    parts: list[RenderableType] = [_heading(overview), _models(overview["models"])]
    parts += [_model_lines(model, history) for model in overview["models"]]
    if overview["events"]:
        parts.append(_events(overview))
    return Group(*parts)


def plain_line(model: ModelOverview, time: float) -> str:
    """A model in one line, for pipes and logs."""
    cells = dict(zip(_COLUMNS, _cells(model), strict=True))
    told = [
        f"{local_time(time)}  {cells['MODEL']}  {cells['REPLICAS']}",
        f"waiting {cells['WAITING']}",
        f"running {cells['RUNNING']}",
        f"KV {cells['KV']}",
        f"{cells['TOK/S']} tok/s",
        f"TTFT {cells['TTFT P50 / P95']}",
    ]
    if model["held"]:
        told.append(f"{model['held']} held")
    if model["decision"]:
        told.append(f"decision {model['decision']}")
    return "  ".join(told)


def _heading(overview: Overview) -> Text:
    heading = Text("Stoker", style="bold")
    up = human_duration(overview["time"] - overview["started_at"])
    facts = (
        f"engine {overview['engine']}",
        f"GPUs {overview['gpus_used']}/{overview['gpus_total']}",
        f"up {up}",
        overview["gateway_url"],
        local_time(overview["time"]),
    )
    heading.append("   " + "   ".join(facts), style="not bold")
    return heading.append("\n")


def _models(models: Sequence[ModelOverview]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for number, heading in enumerate(_COLUMNS):
        left = number < 2
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
    for model in models:
        table.add_row(*(Text(cell) for cell in _cells(model)))
    return table


def _cells(model: ModelOverview) -> tuple[str, ...]:
    ttft = f"{_seconds(model['ttft_p50'])} / {_seconds(model['ttft_p95'])}"
    kv = model["kv_cache"]
    return (
        model["model"],
        _replicas(model),
        _number(model["waiting"]),
        _number(model["running"]),
        "-" if kv is None else f"{kv:.0%}",
        _number(model["tokens_per_second"]),
        ttft,
        str(model["held"]),
    )


def _replicas(model: ModelOverview) -> str:
    words = ("starting", "pending", "terminating")
    counts = (model["starting"], model["pending"], model["terminating"])
    parts = [f"{model['ready']}/{model['wanted']} ready"]
    parts += [f"{count} {word}" for word, count in zip(words, counts, strict=True) if count]
    return ", ".join(parts)


def _model_lines(model: ModelOverview, history: History) -> Text:
    name = model["deployment"]
    text = Text(f"\n{model['model']}", style="bold")
    limits = f"{model['min_replicas']} to {model['max_replicas']}"
    fixed = model["scaled_object"] is None
    scaling = "fixed replicas" if fixed else f"{limits} replicas by {model['scaled_object']}"
    plural = "GPU" if model["gpus"] == 1 else "GPUs"
    text.append(f"   {scaling}, {model['gpus']} {plural}", style="not bold")
    if model["paused"]:
        text.append("   PAUSED", style="yellow")
    waiting, ready = history.waiting(name), history.ready(name)
    if waiting:
        top = float(model["max_replicas"] or 0) or None
        text.append(f"\n  waiting   {sparkline(waiting)} {_number(waiting[-1])}", style="not bold")
        text.append(f"\n  ready     {sparkline(ready, top)} {_number(ready[-1])}", style="not bold")
    if model["decision"]:
        when = model["decision_time"]
        told = f"\n  decision  {model['decision']}"
        told += f", {model['decision_message']}" if model["decision_message"] else ""
        text.append(told + ("" if when is None else f" ({local_time(when)})"), style="not bold")
    if model["warning"]:
        text.append(f"\n  warning   {model['warning']}", style="not bold yellow")
    return text


def _events(overview: Overview) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    table.add_column("\nLAST SEEN", no_wrap=True, min_width=9)
    table.add_column("\nREASON", no_wrap=True, min_width=18)
    table.add_column("\nOBJECT", no_wrap=True, ratio=2)
    table.add_column("\nMESSAGE", no_wrap=True, overflow="ellipsis", ratio=3)
    for event in reversed(overview["events"][-_EVENTS:]):
        age = human_duration(max(overview["time"] - event["time"], 0.0))
        style = "yellow" if event["type"] == "Warning" else ""
        cells = (age, event["reason"], event["object"], event["message"])
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _number(value: float | None) -> str:
    """Large numbers whole, small ones with one digit; ``-`` when it is not known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
