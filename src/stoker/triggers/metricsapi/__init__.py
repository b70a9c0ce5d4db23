"""``type: metrics-api``: a number in the answer of any HTTP address.

*Source*: ``pkg/scalers/metrics_api_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from stoker.errors import StokerError
from stoker.scaling.numbers import plain
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import EndpointsFunction, TriggerContext, metric_name, unread
from stoker.triggers.connections import Lease, Tls
from stoker.triggers.http import HttpClient
from stoker.triggers.httpauth import AUTHENTICATION, headers, tls
from stoker.triggers.metricsapi.values import value_in
from stoker.triggers.parameters import Parameter, Parameters, Source, parameter

__all__ = ["MetricsApiTrigger"]

_AT_ONCE = 5  # endpoints of a Service
_BOTH = (Source.METADATA, Source.AUTH)


@dataclass(frozen=True, slots=True)
class MetricsApiParameters:
    """What a metrics-api trigger was given."""

    url: str = field(repr=False)  # with the key of `method: query`
    value_location: str
    target: float
    activation: float
    format: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    tls: Tls
    aggregation: str  # "": one address is asked, not the endpoints of a Service

    @classmethod
    def read(cls, spec: TriggerSpec, context: TriggerContext) -> MetricsApiParameters:
        """Read and check what was given.

        Raises:
            InputError: KEDA could not build the trigger.
        """
        given = Parameters(MetricsApiTrigger.PARAMETERS, spec.metadata, context.auth, context.env)
        sent = headers(given, "bearer", "basic")
        url = given.text("url")
        if "apiKey" in given.items("authModes"):
            url, more = _with_key(given, url)
            sent |= more
        if given.number("targetValue") == 0.0 and not context.in_formula:
            given.refuse("no targetValue given in metadata")
        given.finish("metrics API")
        return cls(
            url=url,
            value_location=given.text("valueLocation"),
            target=given.number("targetValue"),
            activation=given.number("activationTargetValue"),
            format=given.text("format"),
            headers=sent,
            timeout=given.duration("timeout", context.timeout),
            tls=tls(given) if "tls" in given.items("authModes") else Tls(
                unsafe=given.boolean("unsafeSsl")
            ),
            aggregation=given.text("aggregationType")
            if given.boolean("aggregateFromKubeServiceEndpoints")
            else "",
        )  # fmt: skip


def _with_key(given: Parameters, url: str) -> tuple[str, dict[str, str]]:
    """The address and headers with ``apiKey``."""
    key, name = given.text("apiKey"), given.get("keyParamName")
    if given.text("method") != "query":
        return url, {name or "X-API-KEY": key}
    parts = urlsplit(url)
    # as Go's url.Values: the keys in order
    query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), name or "api_key": key}
    return urlunsplit(parts._replace(query=urlencode(sorted(query.items())))), {}


class MetricsApiTrigger:
    """A number in the answer to a GET request."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("targetValue", "the target; may be left out in a formula", "float64"),
        parameter("activationTargetValue", "a greater value wakes", "float64", default="0"),
        parameter("url", "of the request; only status 200 counts", required=True),
        parameter("format", "of the answer", default="json",
                  enum=("prometheus", "json", "xml", "yaml")),
        parameter("valueLocation", "GJSON path; keys with dots for xml and yaml; a selector for "
                  "prometheus", required=True,
                  note="GJSON's modifiers (@reverse ...) are not known"),
        parameter("timeout", "of one request; 3 s when left out", "duration"),
        parameter("unsafeSsl", "the server's certificate is not looked at", "bool",
                  default="false"),
        parameter("aggregateFromKubeServiceEndpoints",
                  "ask every ready pod behind the Service that url names", "bool",
                  default="false"),
        parameter("aggregationType", "of what they answer", default="average",
                  enum=("average", "sum", "max", "min")),
        *AUTHENTICATION,
        parameter("apiKey", "with `apiKey`", order=_BOTH, secret=True),
        parameter("method", "how the key is sent", order=_BOTH, default="header",
                  enum=("header", "query")),
        parameter("keyParamName", "X-API-KEY in a header, api_key in a query", order=_BOTH),
    )  # fmt: skip

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        self.parameters = MetricsApiParameters.read(spec, context)
        self._endpoints: EndpointsFunction | None = context.endpoints
        self._pool = context.pool
        self._http: Lease[HttpClient] | None = None

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric."""
        return metric_name(self.spec, f"metric-api-{self.parameters.value_location}")

    @property
    def target(self) -> float:
        """``targetValue``."""
        return self.parameters.target

    async def read(self, now: float) -> TriggerReading:  # noqa: ARG002 - no time is sent
        """The number, or why there is none."""
        given = self.parameters
        reading = unread(
            self.spec,
            self.metric_name,
            self.target,
            f"{given.value_location} of {_without_query(given.url)}",
            given.activation,
        )
        try:
            value = await (self._aggregated() if given.aggregation else self._value(given.url))
        except StokerError as error:
            told = f"error requesting metrics endpoint: {error.message}"
            return replace(reading, error=told, answer=error.hint or "")
        return replace(reading, value=value, active=value > given.activation, answer=plain(value))

    async def close(self) -> None:
        """Give back the HTTP session."""
        if self._http is not None:
            await self._http.release()
            self._http = None

    async def _value(self, url: str) -> float:
        given = self.parameters
        if self._http is None:
            self._http = HttpClient.lease(self._pool, given.tls)
        status, body = await self._http.value.get(url, given.headers, given.timeout)
        if status != 200:
            hint = "the credentials are missing or wrong" if status in (401, 403) else None
            raise StokerError(f"{urlsplit(url).path}: api returned {status}", hint=hint)
        return value_in(body, given.value_location, given.format)

    async def _aggregated(self) -> float:
        """Of all endpoints that answer; as in KEDA the query of the address is lost."""
        urls = self._endpoint_urls()
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(url: str) -> float:
            async with slots:
                return await self._value(url)

        answers = await asyncio.gather(*(one(url) for url in urls), return_exceptions=True)
        values: list[float] = []
        for answer in answers:
            if isinstance(answer, float):
                values.append(answer)
            elif not isinstance(answer, StokerError):
                raise answer
        if not values:
            raise StokerError(
                f"could not get any metric successfully from the {len(urls)} provided endpoints",
                hint=next((a.message for a in answers if isinstance(a, StokerError)), None),
            )
        match self.parameters.aggregation:
            case "sum":
                return sum(values)
            case "max":
                return max(values)
            case "min":
                return min(values)
            case _:
                return sum(values) / len(values)

    def _endpoint_urls(self) -> Sequence[str]:
        parts = urlsplit(self.parameters.url)
        names = (parts.hostname or "").split(".")
        if len(names) < 2:
            raise StokerError(
                "failed to get kubernetes endpoints urls from configured service URL",
                hint=f"{parts.hostname} is not SERVICE.NAMESPACE",
            )
        if self._endpoints is None:
            raise StokerError("there are no Services here")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        bases = self._endpoints(names[0], names[1], port)
        if not bases:
            raise StokerError("no endpoints URLs were given for the service name")
        return [base + parts.path for base in bases]


def _without_query(url: str) -> str:
    """The address as it may be shown: a query may hold a key."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="", netloc=parts.netloc.rpartition("@")[2]))
