"""The gateway's page for Prometheus.

The names that vLLM production-stack's router has are kept, so that its triggers and dashboards
work. One is left out on purpose: the router also exports ``vllm:num_requests_running{server}``,
under the name of the engines' own metric. Where router and engines are both scraped, as here, an
unfiltered ``sum()`` then counts every request twice. ``stoker_gateway_in_flight`` has that number.

No label value comes from a client: models are those that are known, all others count as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stoker.gateway.stats import Snapshot


def page(snapshot: Snapshot) -> str:
    """The page for Prometheus, text format 0.0.4."""
    return "\n".join((*_router_lines(snapshot), *_own_lines(snapshot), ""))


def _router_lines(snapshot: Snapshot) -> Iterator[str]:
    yield from _family(
        "vllm:num_incoming_requests_total",
        "counter",
        "Requests for a known model, counted as they come, whether or not it has replicas.",
        ((_model(name), counters.incoming) for name, counters in snapshot.models.items()),
    )
    servers = {endpoint.url for endpoint in snapshot.endpoints.values() if endpoint.ready}
    yield from _family(
        "vllm:healthy_pods_total",
        "gauge",
        "Replicas that are ready and not terminating.",
        ((f'server="{escape(url)}"', 1) for url in sorted(servers)),
    )


def _own_lines(snapshot: Snapshot) -> Iterator[str]:
    models = [(_model(name), counters) for name, counters in snapshot.models.items()]
    yield from _family(
        "stoker_gateway_requests_total",
        "counter",
        "Requests that were answered, by HTTP code. 499: the client went before the answer.",
        (
            (f'{label},code="{code}"', count)
            for label, c in models
            for code, count in sorted(c.by_code.items())
        ),
    )
    for name, help_, samples in (
        (
            "stoker_gateway_truncated_total",
            "Answers that broke off after their first byte.",
            ((label, c.truncated) for label, c in models),
        ),
        (
            "stoker_gateway_lost_total",
            "Requests with a gateway process that was killed before it said how they ended.",
            ((label, c.lost) for label, c in models),
        ),
        (
            "stoker_gateway_retries_total",
            "Requests sent to another replica, by what the first did.",
            (
                (f'{label},reason="{reason}"', count)
                for label, c in models
                for reason, count in sorted(c.retries.items())
            ),
        ),
        (
            "stoker_gateway_refused_total",
            "Requests that the gateway answered with an error of its own, by its code.",
            (
                (f'{label},reason="{reason}"', count)
                for label, c in models
                for reason, count in sorted(c.refused.items())
            ),
        ),
        (
            "stoker_gateway_replica_requests_total",
            "What became of requests at a replica: ok, error (its answer says so) or what failed.",
            (
                (f'{label},pod="{escape(pod)}",outcome="{outcome}"', count)
                for label, c in models
                for (pod, outcome), count in sorted(c.replicas.items())
            ),
        ),
        (
            "stoker_gateway_output_tokens_total",
            "Tokens sent: `usage` where the engine reports it, else events of the stream.",
            ((label, c.output_tokens) for label, c in models),
        ),
        (
            "stoker_gateway_chunks_total",
            "Pieces of streams as they were passed on.",
            ((label, c.chunks) for label, c in models),
        ),
        *(
            (f"stoker_gateway_{name}_total", help_, (("", snapshot.other[name]),))
            for name, help_ in (
                ("unknown_model", "Requests for a model that does not exist."),
                ("bad_requests", "Requests that no model could be found in."),
                ("unauthorized", "Requests without a valid API key."),
                ("parse_errors", "Connections closed because what came was not HTTP."),
            )
        ),
    ):
        yield from _family(name, "counter", help_, samples)
    yield from _gauges(snapshot)
    yield from _histograms(snapshot)


def _histograms(snapshot: Snapshot) -> Iterator[str]:
    for name, help_, attribute in (
        (
            "stoker_gateway_time_to_first_token_seconds",
            "From a request's last byte to the first byte of its stream.",
            "ttft",
        ),
        (
            "stoker_gateway_inter_chunk_seconds",
            "Between two pieces of a stream.",
            "inter_chunk",
        ),
        ("stoker_gateway_request_duration_seconds", "To the answer's last byte.", "duration"),
        (
            "stoker_gateway_hold_seconds",
            "From arrival to a replica; nearly 0 when one is ready.",
            "hold",
        ),
    ):
        yield f"# HELP {name} {help_}"
        yield f"# TYPE {name} histogram"
        for model, counters in snapshot.models.items():
            yield from getattr(counters, attribute).lines(name, _model(model))


def _gauges(snapshot: Snapshot) -> Iterator[str]:
    yield from _family(
        "stoker_gateway_held",
        "gauge",
        "Requests that wait for a replica.",
        ((_model(name), snapshot.held[name]) for name in snapshot.models),
    )
    yield from _family(
        "stoker_gateway_held_bytes",
        "gauge",
        "Bytes of the bodies of requests that wait.",
        ((_model(name), snapshot.held_bytes[name]) for name in snapshot.models),
    )
    endpoints = sorted(snapshot.endpoints.items())
    yield from _family(
        "stoker_gateway_in_flight",
        "gauge",
        "Requests at a replica, draining ones included.",
        ((_replica(*key), endpoint.in_flight) for key, endpoint in endpoints),
    )
    yield from _family(
        "stoker_gateway_circuit_open",
        "gauge",
        "1 while a replica gets nothing because it failed several requests in a row.",
        ((_replica(*key), int(endpoint.circuit_open)) for key, endpoint in endpoints),
    )
    yield from _family(
        "stoker_gateway_connections",
        "gauge",
        "Open connections of clients.",
        (("", snapshot.connections),),
    )


def _model(name: str) -> str:
    return f'model="{escape(name)}"'


def _replica(model: str, pod: str) -> str:
    return f'{_model(model)},pod="{escape(pod)}"'


def _family(name: str, type_: str, help_: str, samples: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {type_}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def escape(value: str) -> str:
    """A label value as the text format wants it."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
