"""``type: prometheus``: the result of an instant query.

The query goes to the embedded storage when the context has one for the address, else over HTTP in
KEDA's own request. Both answers are read by the same code.

*Source*: ``pkg/scalers/prometheus_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from stoker.clock import rfc3339
from stoker.errors import InputError, StokerError
from stoker.scaling import numbers
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import Parameters, QueryAnswer, QueryFunction, TriggerContext

if TYPE_CHECKING:
    import ssl

    import aiohttp

_AUTH_MODES = ("apiKey", "basic", "tls", "bearer", "custom", "oauth")
_NO_VECTOR = (
    "json: cannot unmarshal {kind} into Go struct field .data.result of type struct "
    '{{ Metric struct {{}} "json:\\"metric\\""; Value []interface {{}} "json:\\"value\\"" }}'
)


@dataclass(frozen=True, slots=True)
class PrometheusParameters:
    """The trigger's ``metadata``. Durations are in seconds."""

    server_address: str
    query: str
    threshold: float
    activation_threshold: float = 0.0
    namespace: str = ""
    query_parameters: Mapping[str, str] | None = None
    custom_headers: Mapping[str, str] | None = None
    ignore_null_values: bool = True
    unsafe_ssl: bool = False
    timeout: float = 3.0
    headers: Mapping[str, str] | None = None  # of authModes
    certificate_authority: str = ""  # PEM

    @classmethod
    def parse(
        cls, metadata: Mapping[str, str], auth: Mapping[str, str], default_timeout: float
    ) -> PrometheusParameters:
        """Read and check *metadata*.

        Raises:
            InputError: KEDA could not build the trigger; all problems at once.
        """
        given = Parameters(metadata, auth)
        modes = _auth_modes(given)
        parameters = cls(
            server_address=given.text("serverAddress"),
            query=given.text("query"),
            threshold=given.number("threshold"),
            activation_threshold=given.number("activationThreshold", 0.0),
            namespace=given.text("namespace", ""),
            query_parameters=given.pairs("queryParameters"),
            custom_headers=given.pairs("customHeaders"),
            ignore_null_values=given.boolean("ignoreNullValues", default=True),
            unsafe_ssl=given.boolean("unsafeSsl", default=False),
            timeout=given.duration("timeout", default_timeout),
            headers=_auth_headers(given, modes),
            # without authModes KEDA leaves the authority aside
            certificate_authority=(given.auth("ca") or "") if modes else "",
        )
        given.finish("prometheus")
        return parameters


class PrometheusTrigger:
    """One prometheus trigger."""

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        self.parameters = PrometheusParameters.parse(spec.metadata, context.auth, context.timeout)
        self._query: QueryFunction | None = context.query_for(self.parameters.server_address)
        self._session: aiohttp.ClientSession | None = None

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric."""
        return f"s{self.spec.index}-prometheus"

    @property
    def target(self) -> float:
        """The threshold."""
        return self.parameters.threshold

    async def read(self, now: float) -> TriggerReading:
        """The result of the query at *now*, or why there is none."""
        parameters = self.parameters
        reading = TriggerReading(
            index=self.spec.index,
            metric_name=self.metric_name,
            value=None,
            target=self.target,
            metric_type=self.spec.metric_type,
            activation_threshold=parameters.activation_threshold,
            trigger_name=self.spec.name,
            type=self.spec.type,
            source=parameters.query,
        )
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
        """Close the HTTP session, if there is one."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, now: float) -> QueryAnswer:
        if self._query is not None:
            # KEDA asks for a time in whole seconds
            return await self._query(self.parameters.query, float(math.floor(now)))
        try:
            return await self._fetch(now)
        except StokerError:
            # KEDA rebuilds a failing trigger and tries once more at once
            await self.close()
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
        for key, value in (parameters.query_parameters or {}).items():
            url += f"&{quote_plus(key)}={quote_plus(value)}"
        return url

    async def _fetch(self, now: float) -> QueryAnswer:
        import aiohttp  # noqa: PLC0415 - only a remote server needs it
        from yarl import URL  # noqa: PLC0415

        url = self.url(now)
        scheme, sign, _ = url.partition("://")
        if not sign or scheme not in ("http", "https"):
            raise StokerError(
                f'parse "{url}": first path segment in URL cannot contain colon',
                hint=f"write serverAddress as http://{self.parameters.server_address}",
            )
        if self._session is None:
            self._session = self._new_session()
        try:
            async with self._session.get(URL(url, encoded=True)) as response:
                body = await response.read()
                status = response.status
        except TimeoutError:
            raise StokerError(
                f'Get "{url}": context deadline exceeded '
                "(Client.Timeout exceeded while awaiting headers)",
                hint=f"no answer in {self.parameters.timeout:g} s",
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise StokerError(f'Get "{url}": {error}') from error
        if not 200 <= status <= 299:
            raise StokerError(f"prometheus query api returned error. status: {status}")
        return parse_body(body)

    def _new_session(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415

        parameters = self.parameters
        verify: ssl.SSLContext | bool = not parameters.unsafe_ssl
        if parameters.certificate_authority and verify:
            import ssl  # noqa: PLC0415

            verify = ssl.create_default_context(cadata=parameters.certificate_authority)
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=parameters.timeout),
            headers={**(parameters.custom_headers or {}), **(parameters.headers or {})},
            connector=aiohttp.TCPConnector(ssl=verify),
        )


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


def _auth_modes(given: Parameters) -> tuple[str, ...]:
    text = given.get("authModes") or given.get("authMode") or given.auth("authModes") or ""
    modes = tuple(mode.strip() for mode in text.split(",") if mode.strip())
    for mode in modes:
        if mode not in _AUTH_MODES:
            allowed = " ".join(_AUTH_MODES)
            given.refuse(
                f'parameter "authModes,authMode" value "{mode}" must be one of [{allowed}]'
            )
    return modes


def _auth_headers(given: Parameters, modes: tuple[str, ...]) -> dict[str, str]:
    """At most one kind is applied: bearer before basic before custom."""
    if "bearer" in modes:
        token = given.auth("bearerToken") or given.auth("token")
        if token is None:
            given.refuse("bearer token=<empty> is required when bearer auth is enabled")
        return {"Authorization": f"Bearer {token}"}
    if "basic" in modes:
        return _basic(given)
    if "custom" in modes:
        name, value = given.auth("customAuthHeader"), given.auth("customAuthValue")
        if name is None or value is None:
            given.refuse(
                "customAuthHeader=<empty> and customAuthValue=<empty> are required when custom "
                "auth is enabled"
            )
            return {}
        return {name: value}
    if "tls" in modes and (given.auth("cert") or given.auth("key")):
        raise InputError(
            "client certificates (authModes tls) are not supported yet",
            hint="basic, bearer and custom are; a `ca` alone is used",
        )
    return {}


def _basic(given: Parameters) -> dict[str, str]:
    import base64  # noqa: PLC0415

    user = given.auth("username")
    if user is None:
        given.refuse("username=<empty> is required when basic auth is enabled")
        return {}
    pair = f"{user}:{given.auth('password') or ''}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
