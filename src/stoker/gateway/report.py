"""What one gateway process tells of itself: all its counters, and what it has in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoker.gateway.plane import Plane


def dump(plane: Plane) -> dict[str, Any]:
    """A snapshot, for JSON; :class:`stoker.gateway.stats.Snapshot` adds them up."""
    now = plane.now()
    dispatcher = plane.dispatcher
    models = dispatcher.models
    return {
        "models": {name: counters.dump(now) for name, counters in plane.counters.items()},
        "held": {name: dispatcher.held(name) for name in models},
        "held_bytes": {name: dispatcher.held_bytes(name) for name in models},
        "endpoints": [
            [
                name,
                endpoint.name,
                endpoint.url,
                not endpoint.draining,
                endpoint.in_flight,
                endpoint.circuit.is_open(now),
            ]
            for name in models
            for endpoint in dispatcher.endpoints(name)
        ],
        "other": dict(plane.other),
        "connections": len(plane.inbounds),
    }


def depths(plane: Plane) -> dict[str, Any]:
    """What changes with every request: arrivals and those that wait, by model, and the replicas'.

    It is pushed some milliseconds after a change, so it is small.
    """
    dispatcher = plane.dispatcher
    return {
        "models": {
            name: [plane.counters[name].incoming, dispatcher.held(name)]
            for name in dispatcher.models
        },
        "replicas": [
            [name, endpoint.name, endpoint.in_flight]
            for name in dispatcher.models
            for endpoint in dispatcher.endpoints(name)
        ],
    }
