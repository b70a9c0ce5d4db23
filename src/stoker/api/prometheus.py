"""The HTTP API of Prometheus on the embedded storage: what curl, Grafana and promtool expect.

Answers have Prometheus' shapes and error words. Queries are limited in samples, in time and in
number: small ones run on the event loop, which also scales and serves, large ones beside it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import Final

from aiohttp import web

from stoker.api.prometheus_queries import Queries
from stoker.api.prometheus_wire import (
    BadDataError,
    Json,
    Params,
    duration,
    first,
    limit,
    parsed,
    selector,
    target_json,
    time,
    unescaped,
    value_json,
)
from stoker.api.remote_write import receive_into
from stoker.clock import Clock, rfc3339
from stoker.errors import QueryError
from stoker.metrics.exposition import Metadata, format_sample
from stoker.metrics.frozen import Source
from stoker.metrics.sample import Labels, Matcher, format_value, is_stale
from stoker.metrics.scrape import Scraper
from stoker.metrics.storage import LOOKBACK, Storage
from stoker.promql.ast import Node, selectors
from stoker.promql.cost import cost
from stoker.promql.engine import Limits, QueryTimeoutError, instant, range_
from stoker.promql.parsing import format_query
from stoker.promql.value import Annotations, Value

MAX_POINTS: Final = 11_000
DEFAULT_LIMITS: Final = Limits(max_samples=5_000_000, timeout=2.0)

Answer = tuple[Json, Annotations]
AnswerFunction = Callable[[Params], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class PrometheusApi:
    """What the handlers need. *scraper* is None where nothing is scraped, as in a replay."""

    storage: Storage
    clock: Clock
    scraper: Scraper | None = None
    limits: Limits = DEFAULT_LIMITS
    lookback: float = LOOKBACK
    version: str = "3.0.0"
    queries: Queries = field(default_factory=Queries)
    on_written: Callable[[frozenset[str]], None] = lambda _: None  # names of metrics pushed

    # -- queries ---------------------------------------------------------------------------------

    async def query(self, params: Params) -> Answer:
        """``/api/v1/query``."""
        node = parsed(params, "query")
        at = time(params, "time", self.clock.now())
        limits = self._limits(params)

        def ask(source: Source) -> Value:
            return instant(node, source, at, lookback=self.lookback, limits=limits)

        return await self._answer(node, 1, 0.0, limits, ask)

    async def query_range(self, params: Params) -> Answer:
        """``/api/v1/query_range``."""
        start, end = time(params, "start"), time(params, "end")
        if end < start:
            raise BadDataError(
                'invalid parameter "end": end timestamp must not be before start time'
            )
        step = duration(params, "step")
        if step < 0.001:
            raise BadDataError(
                'invalid parameter "step": zero or negative query resolution step widths are not '
                "accepted. Try a positive integer"
            )
        if (end - start) / step > MAX_POINTS:
            raise BadDataError(
                "exceeded maximum resolution of 11,000 points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )
        node = parsed(params, "query")
        limits = self._limits(params)

        def ask(source: Source) -> Value:
            return range_(node, source, start, end, step, lookback=self.lookback, limits=limits)

        return await self._answer(node, int((end - start) / step) + 1, end - start, limits, ask)

    async def _answer(
        self,
        node: Node,
        steps: int,
        span: float,
        limits: Limits,
        ask: Callable[[Source], Value],
    ) -> Answer:
        def size(matchers: tuple[Matcher, ...]) -> int:
            return len(self.storage.find(matchers).series)

        wanted = {one.matchers for one in selectors(node)}
        expected = cost(node, steps, round(span * 1000), size)
        value = await self.queries.run(self.storage, wanted, expected, limits, ask)
        return value_json(value), value.annotations

    def format_query(self, params: Params) -> Answer:
        """``/api/v1/format_query``."""
        parsed(params, "query")
        return format_query(first(params, "query")), ()

    def _limits(self, params: Params) -> Limits:
        longest = self.limits.timeout
        if "timeout" not in params:
            return self.limits
        asked = duration(params, "timeout")
        return Limits(self.limits.max_samples, asked if longest is None else min(asked, longest))

    # -- what is there ---------------------------------------------------------------------------

    def series(self, params: Params) -> Answer:
        """``/api/v1/series``."""
        if not params.get("match[]"):
            raise BadDataError("no match[] parameter provided")
        return self._cut(params, [labels.as_dict() for labels in self._matched(params)])

    def labels(self, params: Params) -> Answer:
        """``/api/v1/labels``."""
        found = {name for labels in self._matched(params) for name, _ in labels}
        return self._cut(params, sorted(found))

    def label_values(self, params: Params, name: str) -> Answer:
        """``/api/v1/label/<name>/values``."""
        label = unescaped(name)
        found = {labels.get(label) for labels in self._matched(params)} - {""}
        return self._cut(params, sorted(found))

    def _matched(self, params: Params) -> Iterable[Labels]:
        start = time(params, "start") if "start" in params else None
        end = time(params, "end") if "end" in params else None
        if start is not None and end is not None and end < start:
            raise BadDataError(
                'invalid parameter "end": end timestamp must not be before start time'
            )
        selectors = [selector(text) for text in params.get("match[]", [])] or [()]
        found = {one for which in selectors for one in self.storage.series(which, start, end)}
        return sorted(found, key=lambda labels: labels.pairs)

    @staticmethod
    def _cut(params: Params, rows: list[str] | list[dict[str, str]]) -> Answer:
        most = limit(params)
        if most and len(rows) > most:
            return rows[:most], ("results truncated due to limit",)
        return rows, ()

    def metadata(self, params: Params) -> Answer:
        """``/api/v1/metadata``."""
        wanted, most = params.get("metric", [""])[-1], limit(params)
        found = {
            name: [{"type": meta.type, "help": meta.help, "unit": meta.unit}]
            for name, meta in sorted(self.storage.metadata.items())
            if not wanted or name == wanted
        }
        return (dict(list(found.items())[:most]) if most else found), ()

    def exemplars(self, params: Params) -> Answer:
        """``/api/v1/query_exemplars``: none are kept."""
        parsed(params, "query")
        return [], ()

    def rules(self, _: Params) -> Answer:
        """``/api/v1/rules``: there are none."""
        return {"groups": []}, ()

    def alerts(self, _: Params) -> Answer:
        """``/api/v1/alerts``: there are none."""
        return {"alerts": []}, ()

    def targets(self, params: Params) -> Answer:
        """``/api/v1/targets``."""
        state = params.get("state", ["any"])[-1]
        statuses = self.scraper.targets() if self.scraper is not None else []
        active = [] if state == "dropped" else [target_json(status) for status in statuses]
        return {"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}, ()

    # -- about us --------------------------------------------------------------------------------

    def build_info(self, _: Params) -> Answer:
        """``/api/v1/status/buildinfo``: the version of Prometheus whose language this is."""
        empty = dict.fromkeys(("revision", "branch", "buildUser", "buildDate", "goVersion"), "")
        return {"version": self.version, **empty}, ()

    def runtime_info(self, _: Params) -> Answer:
        """``/api/v1/status/runtimeinfo``."""
        return {
            "serverTime": rfc3339(self.clock.now()),
            "storageRetention": f"{self.storage.retention:g}s",
            "timeSeriesCount": self.storage.series_count(),
            "sampleCount": self.storage.sample_count(),
            "reloadConfigSuccess": True,
        }, ()

    def federate(self, params: Params) -> str:
        """``/federate``: the newest samples as a metrics page."""
        now = self.clock.now()
        found: dict[Labels, str] = {}
        for matchers in [selector(text) for text in params.get("match[]", [])]:
            for series in self.storage.select(matchers, now - self.lookback, now):
                value = float(series.values[-1])
                if not is_stale(value):
                    stamp = round(float(series.times[-1]) * 1000)
                    found[series.labels] = format_sample(series.labels, format_value(value), stamp)
        lines: list[str] = []
        family = ""
        for labels in sorted(found, key=lambda one: (one.name, one.pairs)):
            if labels.name != family:
                family = labels.name
                kind = self.storage.metadata.get(family, Metadata("untyped")).type
                lines.append(f"# TYPE {family} {'untyped' if kind == 'unknown' else kind}")
            lines.append(found[labels])
        return "".join(f"{line}\n" for line in lines)


# -- HTTP ----------------------------------------------------------------------------------------


def routes(
    storage: Storage,
    clock: Clock,
    scraper: Scraper | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    lookback: float = LOOKBACK,
    queries: Queries | None = None,
    on_written: Callable[[frozenset[str]], None] = lambda _: None,
) -> list[web.RouteDef]:
    """The routes of the API, for any aiohttp application."""
    api = PrometheusApi(
        storage,
        clock,
        scraper,
        limits,
        lookback,
        queries=queries or Queries(),
        on_written=on_written,
    )
    both: dict[str, AnswerFunction] = {
        "query": api.query,
        "query_range": api.query_range,
        "format_query": api.format_query,
        "query_exemplars": api.exemplars,
        "series": api.series,
        "labels": api.labels,
    }
    only_get = {
        "metadata": api.metadata,
        "targets": api.targets,
        "rules": api.rules,
        "alerts": api.alerts,
        "status/buildinfo": api.build_info,
        "status/runtimeinfo": api.runtime_info,
    }
    found: list[web.RouteDef] = []
    for path, answer in both.items():
        found.append(web.get(f"/api/v1/{path}", _handler(answer)))
        found.append(web.post(f"/api/v1/{path}", _handler(answer)))
    found += [web.get(f"/api/v1/{path}", _handler(answer)) for path, answer in only_get.items()]

    return [*found, *_plain_routes(api)]


def _plain_routes(api: PrometheusApi) -> list[web.RouteDef]:
    """Routes with a name in their path, or with an answer that is not JSON."""

    async def label_values(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        params = await _params(request)
        return await _respond(lambda params: api.label_values(params, name), params)

    async def federate(request: web.Request) -> web.Response:
        try:
            text = api.federate(await _params(request))
        except (BadDataError, QueryError) as error:
            return web.Response(text=str(error), status=400)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    return [
        web.get("/api/v1/label/{name}/values", label_values),
        web.get("/federate", federate),
        web.post("/api/v1/write", receive_into(api.storage, api.on_written)),
        web.get("/-/healthy", _says("Stoker's embedded Prometheus is Healthy.\n")),
        web.get("/-/ready", _says("Stoker's embedded Prometheus is Ready.\n")),
    ]


def make_app(
    storage: Storage,
    clock: Clock,
    scraper: Scraper | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    lookback: float = LOOKBACK,
    on_written: Callable[[frozenset[str]], None] = lambda _: None,
) -> web.Application:
    """An application with nothing but these routes.

    *on_written* is called with the names of metrics that came by remote write.
    """
    queries = Queries()
    app = web.Application()
    app.add_routes(
        routes(
            storage,
            clock,
            scraper,
            limits=limits,
            lookback=lookback,
            queries=queries,
            on_written=on_written,
        )
    )

    async def close(_: web.Application) -> None:
        queries.close()

    app.on_cleanup.append(close)
    return app


_compact = partial(json.dumps, separators=(",", ":"))  # as Prometheus: people grep in it
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _handler(answer: AnswerFunction) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return await _respond(answer, await _params(request))

    return handle


def _says(text: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=text)

    return handle


async def _respond(answer: AnswerFunction, params: Params) -> web.Response:
    try:
        answered = answer(params)
        body, notes = await answered if isawaitable(answered) else answered
    except BadDataError as error:
        return _error(400, "bad_data", str(error))
    except QueryTimeoutError as error:
        return _error(503, "timeout", error.message)
    except QueryError as error:
        return _error(422, "execution", error.message)
    document: dict[str, Json] = {"status": "success", "data": body}
    warnings = [note for note in notes if not note.startswith("PromQL info")]
    infos = [note for note in notes if note.startswith("PromQL info")]
    if warnings:
        document["warnings"] = warnings
    if infos:
        document["infos"] = infos
    return web.json_response(document, dumps=_compact)


def _error(status: int, kind: str, message: str) -> web.Response:
    document = {"status": "error", "errorType": kind, "error": message}
    return web.json_response(document, status=status, dumps=_compact)


async def _params(request: web.Request) -> Params:
    """Parameters of the address and, for POST, of the form; the form comes first."""
    params: Params = {}
    pairs: list[tuple[str, str]] = []
    if request.method == "POST":
        form = await request.post()
        pairs += [(name, value) for name, value in form.items() if isinstance(value, str)]
    pairs += list(request.query.items())
    for name, value in pairs:
        params.setdefault(name, []).append(value)
    return params
