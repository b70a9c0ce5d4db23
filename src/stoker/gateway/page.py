"""The gateway's page for Prometheus.

The names that vLLM production-stack's router has are kept, so that its triggers and dashboards
work. One is left out on purpose: the router also exports ``vllm:num_requests_running{server}``,
under the name of the engines' own metric. Where router and engines are both scraped, as here, an
unfiltered ``sum()`` then counts every request twice. ``stoker_gateway_in_flight`` has that number.

No label value comes from a client: models are those that are known, all others count as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stoker.gateway.dispatch import Dispatcher
from stoker.gateway.stats import Stats


def page(stats: Stats, dispatcher: Dispatcher) -> str:
    """The page for Prometheus, text format 0.0.4."""
    return "\n".join((*_router_lines(stats, dispatcher), *_own_lines(stats, dispatcher), ""))


def _router_lines(stats: Stats, dispatcher: Dispatcher) -> Iterator[str]:
    yield from _family(
        "vllm:num_incoming_requests_total",
        "counter",
        "Requests for a known model, counted as they come, whether or not it has replicas.",
        ((f'model="{escape(name)}"', counters.incoming) for name, counters in stats.items()),
    )
    servers = {b.url for model in dispatcher.models for b in dispatcher.backends(model)}
    yield from _family(
        "vllm:healthy_pods_total",
        "gauge",
        "Replicas that are ready and not terminating.",
        ((f'server="{escape(url)}"', 1) for url in sorted(servers)),
    )


def _own_lines(stats: Stats, dispatcher: Dispatcher) -> Iterator[str]:
    models = [(f'model="{escape(name)}"', name, c) for name, c in stats.items()]
    yield from _family(
        "stoker_gateway_requests_total",
        "counter",
        "Requests that were answered, by HTTP code. 499: the client went before the answer.",
        (
            (f'{label},code="{code}"', count)
            for label, _, c in models
            for code, count in sorted(c.by_code.items())
        ),
    )
    for name, help_, samples in (
        (
            "stoker_gateway_truncated_total",
            "Answers that broke off after their first byte.",
            ((label, c.truncated) for label, _, c in models),
        ),
        (
            "stoker_gateway_retries_total",
            "Requests sent to another replica, by what the first did.",
            (
                (f'{label},reason="{reason}"', count)
                for label, _, c in models
                for reason, count in sorted(c.retries.items())
            ),
        ),
        (
            "stoker_gateway_output_tokens_total",
            "Tokens sent: `usage` where the engine reports it, else events of the stream.",
            ((label, c.output_tokens) for label, _, c in models),
        ),
        (
            "stoker_gateway_unknown_model_total",
            "Requests for a model that does not exist.",
            (("", stats.unknown_model),),
        ),
        (
            "stoker_gateway_bad_requests_total",
            "Requests that no model could be found in.",
            (("", stats.bad_requests),),
        ),
    ):
        yield from _family(name, "counter", help_, samples)
    yield from _gauges(dispatcher)
    for name, help_, attribute in (
        (
            "stoker_gateway_time_to_first_token_seconds",
            "From a request's last byte to the first byte of its stream.",
            "ttft",
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
        for label, _, counters in models:
            yield from getattr(counters, attribute).lines(name, label)


def _gauges(dispatcher: Dispatcher) -> Iterator[str]:
    labels = [(f'model="{escape(name)}"', name) for name in dispatcher.models]
    yield from _family(
        "stoker_gateway_held",
        "gauge",
        "Requests that wait for a replica.",
        ((label, dispatcher.held(name)) for label, name in labels),
    )
    yield from _family(
        "stoker_gateway_held_bytes",
        "gauge",
        "Bytes of the bodies of requests that wait.",
        ((label, dispatcher.held_bytes(name)) for label, name in labels),
    )
    yield from _family(
        "stoker_gateway_in_flight",
        "gauge",
        "Requests at a replica, draining ones included.",
        ((f'pod="{escape(pod)}"', dispatcher.in_flight(pod)) for pod in dispatcher.pods()),
    )


def _family(name: str, type_: str, help_: str, samples: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {type_}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def escape(value: str) -> str:
    """A label value as the text format wants it."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
