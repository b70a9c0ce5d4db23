"""The policy as its drivers see it: events in, actions out, `now` as an argument.

A driver tells what happens and does what it is told, in the order of the list. It calls `tick` at
`next_timer`, and later than that does no harm. Two drive it: the gateway's data plane, and the
replay in virtual time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stoker.gateway.policy.actions import (
    BREAKING,
    LOSING,
    Action,
    Failure,
    Reason,
    Recall,
    Refuse,
)
from stoker.gateway.policy.circuit import Circuit
from stoker.gateway.policy.endpoint import Endpoint
from stoker.gateway.policy.model import Model
from stoker.gateway.policy.request import Request, Stage
from stoker.gateway.policy.settings import EndpointSpec, ModelSettings

#: A request that makes an engine die must not visit all of them.
MAX_LOST = 3
_NOTHING: tuple[Action, ...] = ()


class Dispatcher:
    """Gives endpoints to requests. Times are seconds on any one clock that does not go back."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._names: dict[str, str] = {}  # models and aliases -> model
        self._stopping = False

    # -- models and endpoints --------------------------------------------------------------------

    def set_models(self, models: Iterable[ModelSettings], now: float) -> Sequence[Action]:
        """The models that exist. Requests that wait for others are refused."""
        out: list[Action] = []
        wanted = {settings.name: settings for settings in models}
        for name in self._models.keys() - wanted.keys():
            gone = self._models.pop(name)
            gone.refuse_all(Reason.UNKNOWN_MODEL, now, out, "")
        for name, settings in wanted.items():
            if name not in self._models:
                self._models[name] = Model(settings)
            model = self._models[name]
            model.settings = settings
            for endpoint in model.endpoints.values():
                endpoint.update(endpoint.spec, settings)
            model.changed()
            model.fill(now, out)
        self._names = {
            alias: name for name, settings in wanted.items() for alias in settings.aliases
        }
        self._names |= {name: name for name in wanted}
        return out

    def set_endpoints(
        self, model: str, endpoints: Iterable[EndpointSpec], now: float
    ) -> Sequence[Action]:
        """The endpoints of *model* that may get requests; others finish what they have."""
        found = self._models.get(model)
        if found is None:
            return _NOTHING
        out: list[Action] = []
        wanted = {spec.name: spec for spec in endpoints}
        for name in found.endpoints.keys() - wanted.keys():
            self._drain(found, found.endpoints[name])
        for name, spec in wanted.items():
            known = found.endpoints.get(name)
            if known is None or known.url != spec.url:
                found.endpoints[name] = Endpoint(spec, found.settings)
            else:
                known.update(spec, found.settings)
                if known.draining:  # it was unwell, and whoever says so says that it is not now
                    known.circuit = Circuit()
                    known.healthy = True
                known.draining = False
        if wanted:
            found.warmed(now)
        found.changed()
        found.fill(now, out)
        return out

    def add(self, model: str, spec: EndpointSpec, now: float) -> Sequence[Action]:
        """A replica is ready."""
        found = self._models.get(model)
        if found is None:
            return _NOTHING
        return self.set_endpoints(model, (*(e.spec for e in found.ready()), spec), now)

    def drain(self, model: str, name: str, now: float) -> Sequence[Action]:
        """A replica gets nothing new from now on and finishes what it has."""
        found = self._models.get(model)
        if found is None or name not in found.endpoints:
            return _NOTHING
        self._drain(found, found.endpoints[name])
        found.changed()
        out: list[Action] = []
        found.fill(now, out)
        return out

    def remove(self, model: str, name: str, now: float) -> Sequence[Action]:
        """A replica is gone: what it has not begun to answer goes to others."""
        found = self._models.get(model)
        endpoint = found.endpoints.pop(name, None) if found else None
        if found is None or endpoint is None:
            return _NOTHING
        found.changed()
        endpoint.draining = True
        return self._withdraw(found, endpoint, now)

    def set_health(self, model: str, name: str, *, healthy: bool, now: float) -> Sequence[Action]:
        """What the active health check says of a replica.

        When it turns bad, requests without an answer are taken back, if others could answer them.
        """
        found = self._models.get(model)
        endpoint = found.endpoints.get(name) if found else None
        if found is None or endpoint is None or endpoint.healthy == healthy:
            return _NOTHING
        endpoint.healthy = healthy
        found.changed()
        if not healthy and any(e is not endpoint for e in found.usable(now)):
            return self._withdraw(found, endpoint, now)
        out: list[Action] = []
        found.fill(now, out)
        return out

    def refill(self, model: str, now: float) -> Sequence[Action]:
        """Other gateway processes have less in hand, or it is our turn."""
        found = self._models.get(model)
        out: list[Action] = []
        if found is not None and found.waiting:
            found.fill(now, out)
        return out

    def start_failed(self, model: str, why: str, now: float) -> Sequence[Action]:
        """There will be no replica: those that wait need not."""
        found = self._models.get(model)
        out: list[Action] = []
        if found is not None and not found.ready():
            found.refuse_all(Reason.START_FAILED, now, out, why)
        return out

    def stop(self, now: float) -> Sequence[Action]:
        """Refuse those that wait and all that come."""
        self._stopping = True
        out: list[Action] = []
        for model in self._models.values():
            model.refuse_all(Reason.STOPPING, now, out, "")
        return out

    # -- a request's way -------------------------------------------------------------------------

    def arrive(self, request: Request, now: float) -> Sequence[Action]:
        """A new request: among the actions is its `Dispatch`, `Hold` or `Refuse`."""
        model = self._models.get(request.model)
        request.arrived = now
        if model is None or self._stopping:
            request.stage = Stage.OVER
            reason = Reason.STOPPING if self._stopping else Reason.UNKNOWN_MODEL
            return (Refuse(request, reason, None, ""),)
        model.budget.request()
        if not model.waiting and model.turns.ahead is None:
            endpoint = model.pick(request, now)
            if endpoint is not None:
                return (model.send(request, endpoint, now),)
        out: list[Action] = []
        model.hold(request, now, out)
        return out

    def first_byte(self, request: Request, now: float) -> Sequence[Action]:
        """The answer begins; the request is not retried any more."""
        endpoint = request.endpoint
        if request.stage != Stage.SENT or endpoint is None:
            return _NOTHING
        request.stage = Stage.ANSWERING
        endpoint.unanswered.pop(request, None)
        if not endpoint.circuit.succeeded():
            return _NOTHING
        out: list[Action] = []
        model = self._models.get(request.model)
        if model is not None:
            model.changed()
            model.fill(now, out)
        return out

    def done(self, request: Request, now: float, *, broken: bool = False) -> Sequence[Action]:
        """The answer is over; *broken*: its endpoint went away half way through it."""
        endpoint = request.endpoint
        if request.stage not in {Stage.SENT, Stage.ANSWERING} or endpoint is None:
            return _NOTHING
        model = self._models.get(request.model)
        if broken and endpoint.circuit.failed(now) and model is not None:
            model.changed()
        return self._release(request, model, endpoint, now)

    def cancel(self, request: Request, now: float) -> Sequence[Action]:
        """The client is gone, wherever its request is."""
        model = self._models.get(request.model)
        if request.stage == Stage.HELD:
            request.stage = Stage.OVER
            if model is not None:
                model.leave(request)
            return _NOTHING
        if request.endpoint is None or request.stage == Stage.OVER:
            request.stage = Stage.OVER
            return _NOTHING
        return self._release(request, model, request.endpoint, now)

    def fail(self, request: Request, failure: Failure, now: float) -> Sequence[Action]:
        """The endpoint failed the request before the first byte of an answer.

        Among the actions is what becomes of it: a `Dispatch`, a `Hold` or a `Refuse`.
        """
        endpoint = request.endpoint
        if request.stage != Stage.SENT or endpoint is None:
            return _NOTHING
        model = self._models.get(request.model)
        if failure in BREAKING and endpoint.circuit.failed(now) and model is not None:
            model.changed()
        out: list[Action] = []
        self._give_back(request, endpoint)
        request.tried |= {endpoint.name}
        self._retry(model, request, endpoint.name, failure, now, out)
        if model is not None and model.waiting:
            model.fill(now, out)  # if it is refused, others may have the place that it leaves
        return out

    def has_other(self, request: Request, now: float) -> bool:
        """Whether there is an endpoint that was not tried for *request*, or its own has to go."""
        model = self._models.get(request.model)
        if model is None or request.endpoint is None:
            return False
        return request.endpoint.draining or model.has_other(request, now)

    # -- time ------------------------------------------------------------------------------------

    def next_timer(self, now: float) -> float | None:
        """When `tick` has something to do, None while only an event helps."""
        due = (model.next_timer(now) for model in self._models.values() if model.waiting)
        return min((at for at in due if at is not None), default=None)

    def tick(self, now: float) -> Sequence[Action]:
        """Do what is due: deadlines, second chances, endpoints that have warmed up."""
        out: list[Action] = []
        for model in self._models.values():
            if model.waiting:
                model.tick(now, out)
        return out

    # -- what there is ---------------------------------------------------------------------------

    @property
    def models(self) -> tuple[str, ...]:
        """The names of all models, in the order in which they were told."""
        return tuple(self._models)

    def model(self, name: str) -> Model | None:
        """The model of that name, for those who count for several processes."""
        return self._models.get(name)

    def settings(self, model: str) -> ModelSettings:
        """The rules for *model*."""
        return self._models[model].settings

    def resolve(self, name: str) -> str | None:
        """The model that *name* stands for, None when there is none."""
        return self._names.get(name)

    def endpoints(self, model: str) -> Iterator[Endpoint]:
        """The endpoints of *model*, draining ones included."""
        found = self._models.get(model)
        return iter(found.endpoints.values() if found else ())

    def ready(self, model: str) -> int:
        """Endpoints of *model* that get requests."""
        found = self._models.get(model)
        return len(found.ready()) if found else 0

    def held(self, model: str) -> int:
        """Requests that wait for an endpoint of *model*."""
        found = self._models.get(model)
        return found.waiting if found else 0

    def held_bytes(self, model: str) -> int:
        """Bytes of the bodies of the requests that wait."""
        found = self._models.get(model)
        return found.waiting_bytes if found else 0

    def retry_after(self, model: str, now: float) -> int:
        """Whole seconds after which to come again."""
        return self._models[model].retry_after(now)

    @property
    def waits(self) -> bool:
        """Whether any request waits."""
        return any(model.waiting for model in self._models.values())

    # -- inside ----------------------------------------------------------------------------------

    def _drain(self, model: Model, endpoint: Endpoint) -> None:
        endpoint.draining = True
        if not endpoint.in_flight:
            del model.endpoints[endpoint.name]

    def _withdraw(self, model: Model, endpoint: Endpoint, now: float) -> Sequence[Action]:
        """Take back what *endpoint* has not begun to answer, the oldest first."""
        out: list[Action] = []
        for request in tuple(endpoint.unanswered):
            out.append(Recall(request, endpoint))
            self._give_back(request, endpoint)
            request.tried |= {endpoint.name}
            self._retry(model, request, endpoint.name, Failure.WITHDRAWN, now, out)
        model.fill(now, out)
        return out

    def _retry(
        self,
        model: Model | None,
        request: Request,
        name: str,
        failure: Failure,
        now: float,
        out: list[Action],
    ) -> None:
        """Try again what endpoint *name* failed, if that may be."""
        if model is None:
            request.stage = Stage.OVER
            out.append(Refuse(request, Reason.UNKNOWN_MODEL, None, ""))
            return None
        if failure in LOSING:
            request.lost |= {name}
            if len(request.lost) >= MAX_LOST:
                why = f"{len(request.lost)} replicas took the request and went away ({failure})"
                return model.refuse(request, Reason.REPLICAS_LOST, now, out, why)
            if not model.budget.spend():
                why = f"its replica went away ({failure}), as that of too many others did"
                return model.refuse(request, Reason.RETRIES_EXHAUSTED, now, out, why)
        if self._stopping:
            return model.refuse(request, Reason.STOPPING, now, out, "")
        model.hold_again(request, now, out)
        return None

    def _release(
        self, request: Request, model: Model | None, endpoint: Endpoint, now: float
    ) -> Sequence[Action]:
        request.stage = Stage.OVER
        self._give_back(request, endpoint)
        if model is None or not model.waiting:
            return _NOTHING
        out: list[Action] = []
        model.fill(now, out)
        return out

    def _give_back(self, request: Request, endpoint: Endpoint) -> None:
        endpoint.in_flight -= 1
        endpoint.unanswered.pop(request, None)
        request.endpoint = None
        if endpoint.draining and not endpoint.in_flight:
            self._forget(request.model, endpoint)

    def _forget(self, name: str, endpoint: Endpoint) -> None:
        """A draining endpoint has finished."""
        model = self._models.get(name)
        if model and model.endpoints.get(endpoint.name) is endpoint:
            del model.endpoints[endpoint.name]
            model.changed()
