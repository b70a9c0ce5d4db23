"""``type: prometheus``: the result of an instant query.

The query goes to the embedded storage when the context has one for the address, else over HTTP in
KEDA's own request. Both answers are read by the same code.

*Source*: ``pkg/scalers/prometheus_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import quote_plus

from stoker.clock import rfc3339
from stoker.errors import StokerError
from stoker.scaling import numbers
from stoker.scaling.observation import TriggerReading
from stoker.scaling.records import replace
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import QueryAnswer, QueryFunction, TriggerContext, metric_name, unread
from stoker.triggers.connections import Lease, Tls
from stoker.triggers.http import HttpClient
from stoker.triggers.httpauth import AUTHENTICATION, headers, tls
from stoker.triggers.parameters import Parameter, Parameters, parameter

_NO_VECTOR = (
    "json: cannot unmarshal {kind} into Go struct field .data.result of type struct "
    '{{ Metric struct {{}} "json:\\"metric\\""; Value []interface {{}} "json:\\"value\\"" }}'
)


@dataclass(frozen=True, slots=True)
class PrometheusParameters:
    """What a prometheus trigger was given. Durations are in seconds."""

    server_address: str
    query: str
    threshold: float
    activation_threshold: float = 0.0
    namespace: str = ""
    query_parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ignore_null_values: bool = True
    timeout: float = 3.0
    tls: Tls = field(default_factory=Tls)

    @classmethod
    def read(cls, spec: TriggerSpec, context: TriggerContext) -> PrometheusParameters:
        """Read and check what was given.

        Raises:
            InputError: KEDA could not build the trigger; all problems at once.
        """
        given = Parameters(PrometheusTrigger.PARAMETERS, spec.metadata, context.auth, context.env)
        sent = {**given.pairs("customHeaders"), **headers(given, "bearer", "basic", "custom")}
        given.finish("prometheus")
        return cls(
            server_address=given.text("serverAddress"),
            query=given.text("query"),
            threshold=given.number("threshold"),
            activation_threshold=given.number("activationThreshold"),
            namespace=given.text("namespace"),
            query_parameters=given.pairs("queryParameters"),
            headers=sent,
            ignore_null_values=given.boolean("ignoreNullValues"),
            timeout=given.duration("timeout", context.timeout),
            tls=tls(given),
        )


class PrometheusTrigger:
    """The result of an instant query."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        *AUTHENTICATION,
        parameter("serverAddress", "of the server, with the prefix of its paths", required=True),
        parameter("query", "PromQL whose result has one element", required=True),
        parameter("threshold", "the target", "float64", required=True),
        parameter("activationThreshold", "a greater value wakes", "float64", default="0"),
        parameter("namespace", "added to the request, for servers with tenants"),
        parameter("queryParameters", "added to the request", "map"),
        parameter("customHeaders", "sent with the request", "map"),
        parameter(
            "ignoreNullValues",
            "an empty result, NaN and infinities are 0; otherwise they are errors",
            "bool",
            default="true",
        ),
        parameter(
            "unsafeSsl", "the server's certificate is not looked at", "bool", default="false"
        ),
        parameter("timeout", "of one request; 3 s when left out", "duration"),
        parameter(
            "awsRegion",
            "of an Amazon managed service",
            note="has no effect: requests are not signed for AWS",
        ),
    )

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        self.parameters = PrometheusParameters.read(spec, context)
        self._query: QueryFunction | None = context.query_for(self.parameters.server_address)
        self._pool = context.pool
        self._http: Lease[HttpClient] | None = None
        self.metric_name = metric_name(spec, "prometheus")  # KEDA's name of it
        self._unread = unread(
            spec,
            self.metric_name,
            self.target,
            self.parameters.query,
            self.parameters.activation_threshold,
        )

    @property
    def target(self) -> float:
        """The threshold."""
        return self.parameters.threshold

    async def read(self, now: float) -> TriggerReading:
        """The result of the query at *now*, or why there is none."""
        parameters, reading = self.parameters, self._unread
        try:
            answer = await self._ask(now)
            value = value_of(answer, parameters)
        except StokerError as error:
            return replace(reading, error=error.message, answer=error.hint or "no answer")
        return replace(
            reading,
            value=value,
            # the raw value counts, not the one rounded to thousandths
            active=value > parameters.activation_threshold,
            answer=_shown(answer, value),
        )

    async def close(self) -> None:
        """Give back the HTTP session, if there is one."""
        if self._http is not None:
            await self._http.release()
            self._http = None

    async def _ask(self, now: float) -> QueryAnswer:
        if self._query is not None:
            # KEDA asks for a time in whole seconds
            return await self._query(self.parameters.query, float(math.floor(now)))
        return await self._fetch(now)

    def url(self, now: float) -> str:
        """The request, character by character as KEDA sends it."""
        parameters = self.parameters
        url = (
            f"{parameters.server_address}/api/v1/query"
            f"?query={quote_plus(parameters.query)}&time={rfc3339(now)}"
        )
        if parameters.namespace:
            url += f"&namespace={parameters.namespace}"
        for key, value in parameters.query_parameters.items():
            url += f"&{quote_plus(key)}={quote_plus(value)}"
        return url

    async def _fetch(self, now: float) -> QueryAnswer:
        url = self.url(now)
        scheme, sign, _ = url.partition("://")
        if not sign or scheme not in ("http", "https"):
            raise StokerError(
                f'parse "{url}": first path segment in URL cannot contain colon',
                hint=f"write serverAddress as http://{self.parameters.server_address}",
            )
        if self._http is None:
            self._http = HttpClient.lease(self._pool, self.parameters.tls)
        status, body = await self._http.value.get(
            url,
            self.parameters.headers,
            self.parameters.timeout,
            shown=url.replace(f"&time={rfc3339(now)}", "", 1),
        )
        if not 200 <= status <= 299:
            raise StokerError(
                f"prometheus query api returned error. status: {status}", hint=_status_hint(status)
            )
        return parse_body(body)


def _status_hint(status: int) -> str | None:
    if status in (401, 403):
        return "the credentials are missing or wrong: see authModes and authenticationRef"
    return None


def parse_body(body: bytes) -> QueryAnswer:
    """The ``data`` of a response; ``status`` is not looked at.

    Raises:
        StokerError: the body is not JSON.
    """
    try:
        document = json.loads(body)
    except ValueError:
        text = body.decode("utf-8", "replace").lstrip()
        problem = (
            f"invalid character '{text[0]}' looking for beginning of value"
            if text and text[0] not in '{["'
            else "unexpected end of JSON input"
        )
        raise StokerError(problem, hint="the answer is not JSON") from None
    data = document.get("data") if isinstance(document, dict) else None
    data = data if isinstance(data, dict) else {}
    return QueryAnswer(str(data.get("resultType", "vector")), data.get("result") or [])


def value_of(answer: QueryAnswer, parameters: PrometheusParameters) -> float:
    """The one number in *answer*.

    Nothing, NaN and infinities are 0 unless ``ignoreNullValues`` is "false"; so is a matrix of one
    series, whose elements have no ``value``.

    Raises:
        StokerError: several elements, or no vector at all, in KEDA's words.
    """
    result = answer.result
    if answer.result_type in ("scalar", "string"):
        kind = "number" if answer.result and not isinstance(answer.result[0], str) else "string"
        raise StokerError(
            _NO_VECTOR.format(kind=kind),
            hint=f"the query gives a {answer.result_type}, KEDA needs a vector of one element",
        )
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise StokerError(_NO_VECTOR.format(kind="number"), hint="the answer is not a vector")
    if len(result) > 1:
        raise StokerError(
            f"prometheus query {parameters.query} returned multiple elements",
            hint=f"{len(result)} elements; aggregate the query, for example with sum(...)",
        )
    pair = result[0].get("value") or [] if result else []
    if not pair:
        what = "value list" if result else "result"
        return _null(
            f"prometheus metrics 'prometheus' target may be lost, the {what} is empty",
            parameters,
        )
    if len(pair) < 2:
        raise StokerError(f"prometheus query {parameters.query} didn't return enough values")
    value = _float(pair[1])
    if not math.isfinite(value):
        shown = "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
        return _null(f"prometheus query returns {shown}", parameters)
    return value


def _null(problem: str, parameters: PrometheusParameters) -> float:
    if parameters.ignore_null_values:
        return 0.0
    raise StokerError(problem, hint='an error because of `ignoreNullValues: "false"`')


def _float(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise StokerError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None


def _shown(answer: QueryAnswer, value: float) -> str:
    """What came back, as a person would read it."""
    if not answer.result:
        return "empty"
    if answer.result_type == "matrix":
        return "a matrix, which counts as 0"
    raw = _float(answer.result[0]["value"][1]) if answer.result[0].get("value") else value
    return numbers.plain(raw) if math.isfinite(raw) else f"{raw}, which counts as 0"
