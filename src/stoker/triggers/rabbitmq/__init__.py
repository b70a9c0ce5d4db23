"""``type: rabbitmq``: what waits in a queue, or how fast it fills.

Over AMQP a passive declaration tells the messages that are ready. Over HTTP the management API
tells those that are not acknowledged as well, the rates, and several queues at once.

*Source*: ``pkg/scalers/rabbitmq_scaler.go`` of KEDA 2.20.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar
from urllib.parse import quote_plus, urlsplit

from stoker.errors import StokerError
from stoker.scaling.numbers import plain
from stoker.scaling.observation import TriggerReading
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext, metric_name, unread
from stoker.triggers.connections import Tls
from stoker.triggers.parameters import AUTH, Parameter, Parameters, Source, parameter
from stoker.triggers.rabbitmq.amqp import AmqpSource
from stoker.triggers.rabbitmq.management import ManagementSource
from stoker.triggers.rabbitmq.oauth import Credentials
from stoker.triggers.rabbitmq.queues import MODES, OPERATIONS, QueueSource, Selection, judge

__all__ = ["RabbitMQTrigger"]

_DEFAULT_LENGTH = 20.0
_UNKNOWN = "Unknown"
_OAUTH_WHOLE = (
    "OAuth2 requires tokenUrl clientId and clientSecret to be configured in TriggerAuthentication"
)
_MA = (Source.METADATA, Source.AUTH)
_MAE = (Source.METADATA, Source.AUTH, Source.ENV)
_AE = (Source.AUTH, Source.ENV)


@dataclass(frozen=True, slots=True)
class RabbitMQParameters:
    """What a rabbitmq trigger was given, with what follows from it."""

    selection: Selection
    mode: str
    value: float
    activation_value: float
    protocol: str
    host: str = field(repr=False)  # it may hold a password
    username: str
    password: str = field(repr=False)
    timeout: float
    tls: Tls
    oauth: Credentials | None = None

    @classmethod
    def read(cls, spec: TriggerSpec, context: TriggerContext) -> RabbitMQParameters:
        """Read and check what was given.

        Raises:
            InputError: KEDA could not build the trigger.
        """
        given = Parameters(RabbitMQTrigger.PARAMETERS, spec.metadata, context.auth, context.env)
        protocol = _protocol(given)
        problem = _problem(given, protocol)
        mode, value, wrong = _mode(given, protocol)
        if problem or wrong:  # KEDA stops at the first
            given.refuse(problem or wrong)
        given.finish("RabbitMQ")
        secured = given.text("tls") == "enable"
        unsafe = given.boolean("unsafeSsl")
        return cls(
            selection=Selection(
                queue=given.text("queueName"),
                vhost=given.text("vhostName"),
                regex=given.boolean("useRegex"),
                ready_only=given.boolean("excludeUnacknowledged"),
                page_size=given.whole("pageSize"),
                operation=given.text("operation"),
            ),
            mode=mode,
            value=value,
            activation_value=given.number("activationValue"),
            protocol=protocol,
            host=given.text("host"),
            username=given.text("username"),
            password=given.text("password"),
            timeout=given.duration("timeout", context.timeout),
            oauth=Credentials.read(given),
            tls=Tls(
                given.text("ca"), given.text("cert"), given.text("key"),
                given.text("keyPassword"), unsafe=unsafe,
            ) if secured else Tls(unsafe=unsafe),
        )  # fmt: skip


class RabbitMQTrigger:
    """Messages of a queue, or the rate of them."""

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = (
        parameter("queueName", "of the queue; a pattern with useRegex", required=True),
        parameter("mode", f"what counts: {', '.join(MODES)}; all but the first over HTTP",
                  default=_UNKNOWN),
        parameter("queueLength", "deprecated: mode QueueLength with a value", "float64"),
        parameter("value", "the target; with neither mode nor value 20 messages", "float64"),
        parameter("activationValue", "a greater value wakes", "float64"),
        parameter("host", "amqp(s):// or http(s)://, with user, password and vhost",
                  order=_MAE, required=True, secret=True),
        parameter("protocol", "auto follows the scheme of host; amqp or http", order=_MA,
                  default="auto"),
        parameter("vhostName", "in the place of the one in host", order=_MA),
        parameter("useRegex", "queueName is a pattern, over HTTP", "bool"),
        parameter("excludeUnacknowledged", "only messages that are ready, over HTTP", "bool"),
        parameter("pageSize", "queues that a pattern may match", "int64", default="100"),
        parameter("operation", f"of several queues: {', '.join(OPERATIONS)}", default="sum"),
        parameter("timeout", "of one request, over HTTP; 3 s when left out", "duration"),
        parameter("username", "in the place of the one in host", order=_AE, secret=True),
        parameter("password", "in the place of the one in host", order=_AE, secret=True),
        parameter("ca", "PEM of an authority to trust besides the machine's", order=AUTH),
        parameter("cert", "PEM of a client's certificate", order=AUTH),
        parameter("key", "PEM of its key", order=AUTH, secret=True),
        parameter("keyPassword", "opens the key", order=AUTH, secret=True),
        parameter("tls", "enable or disable: whether the certificates count", order=AUTH,
                  default="disable"),
        parameter("unsafeSsl", "the server's certificate is not looked at", "bool"),
        parameter("workloadIdentityResource", "of Azure", order=AUTH,
                  note="refused: one machine has no such identity"),
        parameter("oauthTokenURI", "of OAuth2, over HTTP", order=AUTH),
        parameter("clientID", "of OAuth2", order=AUTH),
        parameter("clientSecret", "of OAuth2", order=AUTH, secret=True),
        parameter("scopes", "of OAuth2, separated by commas", order=AUTH),
        parameter("endpointParams", "of OAuth2, URL-encoded", order=AUTH, secret=True),
    )  # fmt: skip

    def __init__(self, spec: TriggerSpec, context: TriggerContext) -> None:
        self.spec = spec
        self.parameters = given = RabbitMQParameters.read(spec, context)
        self._source: QueueSource
        if given.protocol == "http":
            self._source = ManagementSource(
                given.host,
                given.username,
                given.password,
                given.tls,
                given.timeout,
                context.pool,
                given.oauth,
            )
        else:
            name = f"keda-{context.namespace}-{context.name}"
            self._source = AmqpSource(
                given.host, given.username, given.password, given.tls, name, context.pool
            )

    @property
    def metric_name(self) -> str:
        """KEDA's name of the metric."""
        return metric_name(self.spec, f"rabbitmq-{quote_plus(self.parameters.selection.queue)}")

    @property
    def target(self) -> float:
        """``value``."""
        return self.parameters.value

    async def read(self, now: float) -> TriggerReading:  # noqa: ARG002 - RabbitMQ knows no time
        """What the mode makes of the queue, or why nothing."""
        given = self.parameters
        source = f"{given.mode} of {given.selection.queue}"
        reading = unread(self.spec, self.metric_name, self.target, source, given.activation_value)
        try:
            status = await self._source.status(given.selection)
        except StokerError as error:
            told = f"error inspecting RabbitMQ: {error.message}"
            return replace(reading, error=told, answer=error.hint or "")
        value, active = judge(given.mode, status, given.activation_value)
        return replace(reading, value=value, active=active, answer=plain(value))

    async def close(self) -> None:
        """Give back the connections."""
        await self._source.close()


def _protocol(given: Parameters) -> str:
    """``amqp`` or ``http``; what is wrong is noted, empty when it cannot be told."""
    protocol = given.text("protocol")
    if protocol in ("amqp", "http"):
        return protocol
    if protocol != "auto":
        given.refuse(f"the protocol has to be either `amqp`, `http`, or `auto` but is `{protocol}`")
        return protocol
    try:
        scheme = urlsplit(given.text("host")).scheme
    except ValueError:
        scheme = ""
    return {"amqp": "amqp", "amqps": "amqp", "http": "http", "https": "http"}.get(scheme, "")


def _problem(given: Parameters, protocol: str) -> str:
    """The first thing that KEDA would refuse; empty: nothing."""
    host = given.text("host")
    oauth = [given.get(name) for name in ("oauthTokenURI", "clientID", "clientSecret")]
    checks = (
        (given.text("tls") not in ("enable", "disable"),
         f"incorrect value for TLS given: {given.text('tls')}"),
        (bool(given.get("cert")) != bool(given.get("key")),
         "both key and certificate must be provided"),
        (given.whole("pageSize") < 1, "pageSize should be 1 or greater"),
        (bool(given.get("username")) != bool(given.get("password")),
         "username and password must be given together"),
        (not protocol, f"unknown host URL scheme: `{_scheme(host)}`"),
        (given.get("workloadIdentityResource") is not None,
         "workload identity is not on one machine: give username and password"),
        (any(oauth) and not all(oauth), _OAUTH_WHOLE),
        (any(oauth) and protocol == "amqp",
         "OAuth2 authentication is only supported with HTTP protocol, not AMQP"),
        (given.boolean("useRegex") and protocol != "http",
         "configure useRegex=true only with HTTP protocol"),
        (given.boolean("excludeUnacknowledged") and protocol != "http",
         "configure excludeUnacknowledged=true only with HTTP protocol"),
    )  # fmt: skip
    return next((problem for wrong, problem in checks if wrong), "")


def _scheme(host: str) -> str:
    return host.partition("://")[0] if "://" in host else ""


def _mode(given: Parameters, protocol: str) -> tuple[str, float, str]:
    """Mode, target, and what is wrong with them."""
    length, value, mode = given.number("queueLength"), given.number("value"), given.text("mode")
    wrong = ""
    if not length and mode == _UNKNOWN and not value:
        return "QueueLength", _DEFAULT_LENGTH, ""
    if length and (mode != _UNKNOWN or value):
        wrong = "queueLength is deprecated; use mode and value"
    elif length:
        return "QueueLength", length, ""
    elif mode == _UNKNOWN:
        wrong = "mode must be specified"
    elif not value:
        wrong = "value must be specified"
    elif mode not in MODES:
        wrong = f"trigger mode {mode} must be one of {', '.join(MODES[:-1])} or {MODES[-1]}"
    elif mode != "QueueLength" and protocol != "http":
        wrong = f"protocol {protocol} not supported; must be HTTP to use trigger mode {mode}"
    elif protocol == "amqp" and given.duration("timeout", 0.0):
        wrong = "AMQP protocol doesn't support custom timeouts"
    return mode, value, wrong
