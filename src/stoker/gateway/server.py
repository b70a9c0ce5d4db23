"""The gateway as the rest of Stoker sees it: what it is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stoker.clock import steady
from stoker.errors import MachineError
from stoker.gateway.fleet import Fleet
from stoker.gateway.page import page
from stoker.gateway.policy import EndpointSpec, ModelSettings
from stoker.gateway.stats import ModelStats
from stoker.gateway.wire import WorkerConfig


@dataclass(frozen=True, slots=True)
class Backend:
    """A replica that is ready and stays. ``name`` is the pod's."""

    name: str
    url: str


class Gateway:
    """One OpenAI endpoint for all models, in processes of its own.

    A request for a model without a ready replica waits up to *hold_timeout* seconds. *on_held* is
    called with the model when one begins to wait because no replica is ready. There is no limit to
    the length of a stream, only to the silence in it.
    """

    def __init__(
        self,
        state_dir: Path,
        config: WorkerConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        hold_timeout: float = 600.0,
    ) -> None:
        self._host = host
        self._hold_timeout = hold_timeout
        self._ready_at: dict[tuple[str, str], float] = {}
        self._start_up: dict[str, float] = {}
        self._models: dict[str, tuple[str, ...]] = {}
        self._fleet = Fleet(state_dir, config, host=host, port=port)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConflictError: the port is taken.
            MachineError: the gateway's processes do not start.
        """
        try:
            await self._fleet.start()
        except TimeoutError:
            await self._fleet.abandon(kill=True)
            raise MachineError("the gateway's processes do not start") from None
        except BaseException:
            await self._fleet.abandon(kill=True)
            raise

    async def stop(self, grace: float = 30.0) -> None:
        """Refuse new requests and those that wait, let the others finish for *grace* seconds."""
        await self._fleet.stop(grace)

    @property
    def port(self) -> int:
        """The port that it listens on; after `start` the real one if 0 was asked for."""
        return self._fleet.port

    @property
    def url(self) -> str:
        """Where clients find it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes."""
        return self._fleet.pids

    @property
    def on_held(self) -> Callable[[str], None]:
        """Called with the model when a request begins to wait because no replica is ready."""
        return self._fleet.on_held

    @on_held.setter
    def on_held(self, callback: Callable[[str], None]) -> None:
        self._fleet.on_held = callback

    def set_models(self, models: Mapping[str, Sequence[str]]) -> None:
        """The models that exist, even at zero replicas, each with its aliases."""
        self._models = {name: tuple(aliases) for name, aliases in models.items()}
        self._tell_models()

    def set_start_up(self, model: str, seconds: float) -> None:
        """How long a start of *model* takes as measured, for Retry-After."""
        if self._start_up.get(model) != seconds and model in self._models:
            self._start_up[model] = seconds
            self._tell_models()

    def start_failed(self, model: str, why: str) -> None:
        """There is no replica and none will come soon: those that wait are told so."""
        self._fleet.start_failed(model, why)

    def set_backends(self, model: str, backends: Sequence[Backend]) -> None:
        """The replicas of *model* that are ready and not terminating.

        Those that wait leave in the order in which they came.
        """
        now = steady()
        names = {backend.name for backend in backends}
        for known in [key for key in self._ready_at if key[0] == model and key[1] not in names]:
            del self._ready_at[known]
        self._fleet.set_endpoints(
            model,
            [
                EndpointSpec(
                    backend.name,
                    backend.url,
                    ready_at=self._ready_at.setdefault((model, backend.name), now),
                )
                for backend in backends
            ],
        )

    def in_flight(self, pod: str) -> int:
        """Requests that were sent to the pod and are not finished."""
        return self._fleet.in_flight(pod)

    def held(self, model: str) -> int:
        """Requests that wait for a replica of *model*."""
        return self._fleet.held(model)

    def stats(self, model: str) -> ModelStats:
        """The traffic of *model* now."""
        return self._fleet.snapshot().stats(model)

    async def page(self) -> str:
        """What ``/metrics`` shows."""
        await self._fleet.refresh()
        return page(self._fleet.snapshot())

    def _tell_models(self) -> None:
        self._fleet.set_models(
            ModelSettings(name, aliases, hold=self._hold_timeout, start_up=self._start_up.get(name))
            for name, aliases in self._models.items()
        )
