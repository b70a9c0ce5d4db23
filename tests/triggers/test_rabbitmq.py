"""rabbitmq: on a real broker by both protocols, and what the modes make of numbers."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import aio_pika
import pytest
from aiohttp import web

from stoker.errors import InputError, StokerError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import TriggerContext
from stoker.triggers.connections import Pool, Tls
from stoker.triggers.rabbitmq import RabbitMQTrigger
from stoker.triggers.rabbitmq.amqp import AmqpSource
from stoker.triggers.rabbitmq.management import ManagementSource
from stoker.triggers.rabbitmq.queues import QueueStatus, Selection, composed, judge

from .conftest import Build, HttpServer
from .servers import Broker

REGEX = "page=1&use_regex=true&pagination=false&name=%5Eq.%2A&page_size=7"
MISSING = 'missing required parameter "host" in [triggerMetadata authParams resolvedEnv]'
real = pytest.mark.needs("rabbitmq-server", "epmd")


async def fill(broker: Broker, queue: str, count: int, *, taken: int = 0) -> Any:
    """A queue with *count* messages, of which *taken* are with a consumer; its connection."""
    connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{broker.amqp}/")
    channel = await connection.channel()
    declared = await channel.declare_queue(queue, durable=True)
    await declared.purge()
    for number in range(count):
        await channel.default_exchange.publish(aio_pika.Message(str(number).encode()), queue)
    for _ in range(taken):
        await declared.get(no_ack=False)
    return connection


def told(broker: Broker, path: str) -> Any:
    """The management API, asked in another way."""
    request = urllib.request.Request(f"http://127.0.0.1:{broker.http}{path}")
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - of our own making
        return json.load(answer)


@real
async def test_amqp_counts_ready_messages_and_http_all(rabbitmq: Broker, build: Build) -> None:
    connection = await fill(rabbitmq, "jobs", 7, taken=2)
    amqp = build("rabbitmq", queueName="jobs", host=f"amqp://guest:guest@127.0.0.1:{rabbitmq.amqp}")
    http = f"http://guest:guest@127.0.0.1:{rabbitmq.http}/"

    reading = await amqp.read(0.0)
    assert (reading.value, reading.target, reading.active) == (5.0, 20.0, True)
    assert reading.metric_name == "s0-rabbitmq-jobs"

    for _ in range(200):  # the management plugin looks now and then
        if told(rabbitmq, "/api/queues/%2F/jobs").get("messages") == 7:
            break
        await asyncio.sleep(0.1)
    everything = build("rabbitmq", queueName="jobs", host=http, mode="QueueLength", value="3")
    reading = await everything.read(0.0)
    assert (reading.value, reading.target, reading.error) == (7.0, 3.0, None)
    ready = build("rabbitmq", queueName="jobs", host=http, excludeUnacknowledged="true")
    assert (await ready.read(0.0)).value == 5.0
    pattern = build("rabbitmq", queueName="^jo", host=http, useRegex="true", operation="max")
    assert (await pattern.read(0.0)).value == 7.0
    await connection.close()


@real
async def test_a_queue_that_is_not_there_and_wrong_credentials_are_errors(
    rabbitmq: Broker, build: Build
) -> None:
    good, bad = (
        {"username": "guest", "password": "guest"},
        {"username": "me", "password": "hunter2"},
    )
    amqp, http = f"amqp://127.0.0.1:{rabbitmq.amqp}/", f"http://127.0.0.1:{rabbitmq.http}/"

    for host in (amqp, http):
        missing = await build("rabbitmq", auth=good, queueName="none", host=host).read(0.0)
        assert "404" in (missing.error or ""), missing
        refused = await build("rabbitmq", auth=bad, queueName="none", host=host).read(0.0)
        assert "403" in str(refused) or "401" in str(refused), refused
        assert "hunter2" not in str(refused)


@real
async def test_a_connection_survives_a_failed_read(rabbitmq: Broker, build: Build) -> None:
    host = f"amqp://guest:guest@127.0.0.1:{rabbitmq.amqp}/%2F"
    trigger = build("rabbitmq", queueName="later", host=host)

    assert (await trigger.read(0.0)).error is not None
    connection = await fill(rabbitmq, "later", 2)
    assert (await trigger.read(0.0)).value == 2.0
    await connection.close()


async def test_a_refused_connection_is_told_without_the_password(build: Build) -> None:
    amqp = await build("rabbitmq", queueName="q", host="amqp://u:hunter2@127.0.0.1:1").read(0.0)
    http = await build("rabbitmq", queueName="q", host="http://u:hunter2@127.0.0.1:1/").read(0.0)

    lost = await build("rabbitmq", queueName="q", host="amqp://q.ns.svc.cluster.local").read(0.0)
    assert (lost.error or "").endswith("lookup q.ns.svc.cluster.local: no such host")
    assert "inside a cluster only" in lost.answer
    refused = "dial tcp 127.0.0.1:1: connect: connection refused"
    assert amqp.error == f"error inspecting RabbitMQ: {refused}"
    assert (http.error or "").endswith(refused)
    assert "hunter2" not in f"{amqp} {http}"


# -- the management API --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "selection", "path"),
    [
        ("http://h:1", Selection("q"), "http://h:1/api/queues/%2F/q"),
        ("http://h:1/", Selection("q"), "http://h:1/api/queues/%2F/q"),
        ("http://h:1/%2F", Selection("q"), "http://h:1/api/queues/%2F/q"),
        ("http://h:1/team", Selection("a b"), "http://h:1/api/queues/team/a%20b"),
        ("http://h:1/pre/fix/team", Selection("q"), "http://h:1/pre/fix/api/queues/team/q"),
        ("http://h:1/team", Selection("q", vhost="/"), "http://h:1/api/queues/%2F/q"),
        ("http://h:1", Selection("q", vhost="a/b"), "http://h:1/api/queues/a%2Fb/q"),
        (
            "http://h:1/",
            Selection("^q.*", regex=True, page_size=7),
            "http://h:1/api/queues/%2F?" + REGEX,
        ),
    ],
)
def test_the_request_is_kedas(host: str, selection: Selection, path: str) -> None:
    source = ManagementSource(host, "", "", Tls(), 1.0, Pool())

    assert source.request(selection) == (path, {})


def test_credentials_are_in_a_header_and_the_authentications_win() -> None:
    of_host = ManagementSource("http://a:b%40c@h:1/", "", "", Tls(), 1.0, Pool())
    of_auth = ManagementSource("http://a:b@h:1/", "guest", "guest", Tls(), 1.0, Pool())

    url, headers = of_host.request(Selection("q"))
    assert (url, headers) == ("http://h:1/api/queues/%2F/q", {"Authorization": "Basic YTpiQGM="})
    assert of_auth.request(Selection("q"))[1] == {"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}


def test_the_address_of_amqp_takes_user_and_vhost_from_elsewhere() -> None:
    source = AmqpSource("amqp://a:b@h:1/x", "me", "p@ss/", Tls(), "name", Pool())

    assert source.url(Selection("q", vhost="v/w")) == "amqp://me:p%40ss%2F@h:1/v%2Fw"
    assert source.url(Selection("q")) == "amqp://me:p%40ss%2F@h:1/x"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"items": [], "page_count": 2}, "regex matches more queues than can be recovered at once"),
        ([], "the answer of the management API is no object"),
    ],
)
async def test_odd_answers_are_errors(
    http_server: HttpServer, build: Build, answer: Any, words: str
) -> None:
    http_server.handler = lambda _: web.json_response(answer)
    trigger = build("rabbitmq", queueName="q", host=http_server.url, useRegex="true")

    assert words in ((await trigger.read(0.0)).error or "")


@pytest.mark.parametrize("in_form", [False, True])
async def test_a_token_of_oauth2_is_fetched_once_and_used_until_it_ends(
    http_server: HttpServer, build: Build, in_form: bool
) -> None:
    forms: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            assert request.headers["Authorization"] == "Bearer t0ken"
            return web.json_response({"messages": 4})
        form = {key: str(value) for key, value in (await request.post()).items()}
        if in_form and "client_secret" not in form:
            return web.Response(status=401)
        forms.append(form)
        return web.json_response({"access_token": "t0ken", "expires_in": 60})

    http_server.handler = answer
    auth = {
        "oauthTokenURI": f"{http_server.url}/token",
        "clientID": "me",
        "clientSecret": "hunter2",
        "scopes": "a,b",
        "endpointParams": "audience=x+y",
    }
    trigger = build("rabbitmq", auth=auth, queueName="q", host=http_server.url)

    assert [(await trigger.read(0.0)).value for _ in range(3)] == [4.0, 4.0, 4.0]
    (form,) = forms
    known = {"grant_type": "client_credentials", "scope": "a b", "audience": "x y"}
    extra = {"client_id": "me", "client_secret": "hunter2"} if in_form else {}
    assert form == {**known, **extra}


async def test_a_token_that_is_not_given_is_an_error(http_server: HttpServer, build: Build) -> None:
    http_server.handler = lambda _: web.Response(status=403)
    auth = {"oauthTokenURI": http_server.url, "clientID": "me", "clientSecret": "hunter2"}

    reading = await build("rabbitmq", auth=auth, queueName="q", host=http_server.url).read(0.0)
    assert reading.error == "error inspecting RabbitMQ: oauth2: cannot fetch token: 403"
    http_server.handler = lambda _: web.json_response({})
    reading = await build("rabbitmq", auth=auth, queueName="q", host=http_server.url).read(0.0)
    assert "missing access_token" in (reading.error or "")


# -- modes and operations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "queue", "activation", "judged"),
    [
        ("QueueLength", QueueStatus(5), 5.0, (5.0, False)),
        ("QueueLength", QueueStatus(6), 5.0, (6.0, True)),
        ("MessageRate", QueueStatus(6, 1.0), 5.0, (1.0, True)),
        ("MessageRate", QueueStatus(5, 5.0), 5.0, (5.0, False)),
        ("DeliverGetRate", QueueStatus(99, 99.0, 2.0), 1.0, (2.0, True)),
        ("PublishedToDeliveredRatio", QueueStatus(0, 6.0, 4.0), 1.0, (1.5, True)),
        ("PublishedToDeliveredRatio", QueueStatus(0, 6.0, 0.0), 3.0, (3.0, True)),
        ("PublishedToDeliveredRatio", QueueStatus(0, 0.0, 4.0), 0.0, (0.0, False)),
        ("ExpectedQueueConsumptionTime", QueueStatus(30, 4.0, 2.0), 16.0, (16.0, False)),
        ("ExpectedQueueConsumptionTime", QueueStatus(0), 7.0, (7.0, True)),
    ],
)
def test_what_a_mode_makes_of_a_queue(
    mode: str, queue: QueueStatus, activation: float, judged: tuple[float, bool]
) -> None:
    assert judge(mode, queue, activation) == judged


def test_several_queues_are_one() -> None:
    queues = (QueueStatus(3, 1.0, 2.0), QueueStatus(4, 2.0, 0.0))

    assert composed(queues, "sum") == QueueStatus(7, 3.0, 2.0)
    assert composed(queues, "avg") == QueueStatus(3, 1.5, 1.0)  # an integer, cut
    assert composed(queues, "max") == QueueStatus(4, 2.0, 2.0)
    assert composed((), "min") == QueueStatus(0)
    with pytest.raises(StokerError, match="operation mode min must be one of sum, avg, max"):
        composed(queues, "min")


# -- parameters ----------------------------------------------------------------------------------


def parsed(auth: dict[str, str] | None = None, **metadata: str) -> RabbitMQTrigger:
    given = {"queueName": "q", "host": "amqp://h", **metadata}
    return RabbitMQTrigger(
        TriggerSpec(0, "rabbitmq", {k: v for k, v in given.items() if v}),
        TriggerContext(lambda _: None, auth=auth or {}),
    )


@pytest.mark.parametrize(
    ("metadata", "auth", "words"),
    [
        ({"host": ""}, {}, MISSING + "\nunknown host URL scheme: ``"),
        ({"host": "ftp://h"}, {}, "unknown host URL scheme: `ftp`"),
        ({"protocol": "stomp"}, {}, "the protocol has to be either `amqp`, `http`, or `auto`"),
        ({"queueLength": "5", "value": "5"}, {}, "queueLength is deprecated; use mode and value"),
        ({"value": "5"}, {}, "mode must be specified"),
        ({"mode": "QueueLength"}, {}, "value must be specified"),
        ({"mode": "Length", "value": "5"}, {}, "trigger mode Length must be one of QueueLength, "),
        ({"mode": "MessageRate", "value": "5"}, {}, "must be HTTP to use trigger mode MessageRate"),
        ({"useRegex": "true"}, {}, "configure useRegex=true only with HTTP protocol"),
        ({"excludeUnacknowledged": "t"}, {}, "configure excludeUnacknowledged=true only with HTTP"),
        ({"pageSize": "0", "host": "http://h"}, {}, "pageSize should be 1 or greater"),
        ({"mode": "QueueLength", "value": "1", "timeout": "1s"}, {}, "doesn't support custom time"),
        ({}, {"username": "u"}, "username and password must be given together"),
        ({}, {"cert": "c"}, "both key and certificate must be provided"),
        ({"host": "http://h"}, {"clientID": "c"}, "OAuth2 requires tokenUrl"),
        ({}, {"clientID": "c", "clientSecret": "s", "oauthTokenURI": "u"}, "only supported with"),
        ({}, {"tls": "yes"}, "incorrect value for TLS given: yes"),
    ],
)  # fmt: skip
def test_what_keda_refuses_is_refused(
    metadata: dict[str, str], auth: dict[str, str], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        parsed(auth, **metadata)

    assert words in caught.value.message


def test_defaults_and_the_old_way_to_say_a_length() -> None:
    assert (parsed().target, parsed().parameters.mode) == (20.0, "QueueLength")
    assert parsed(queueLength="7.5").target == 7.5
    assert parsed(host="", protocol="amqp", auth={"host": "amqp://u:p@h"}).parameters.username == ""


def test_the_repr_has_no_password() -> None:
    trigger = parsed({"username": "u", "password": "hunter2"}, host="amqp://a:hunter3@h")

    assert "hunter" not in repr(trigger.parameters)
