"""``stoker gateway``: the gateway in front of servers that others run.

There are no probes here that say which endpoint is well, so it asks them itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from stoker.clock import steady
from stoker.errors import InputErrors
from stoker.gateway.endpoints import Served, read_endpoints
from stoker.gateway.fleet import Fleet
from stoker.gateway.health import HealthChecks
from stoker.gateway.policy import EndpointSpec
from stoker.gateway.wire import WorkerConfig

_LOOK_EVERY = 1.0  # seconds, for a file that has changed


class StandaloneGateway:
    """Runs the gateway for what a file says, and follows the file.

    Args:
        path: The file of endpoints.
        state_dir: Where its processes are remembered.
        config: For its processes.
        host: To listen on; ``unix:/path`` for a Unix socket.
        port: To listen on; 0: a free one.
        health_interval: Seconds between two looks at each endpoint's ``/health``; 0: none.
        tell: Takes sentences for the user.
    """

    def __init__(
        self,
        path: Path,
        state_dir: Path,
        config: WorkerConfig,
        *,
        host: str,
        port: int,
        health_interval: float,
        tell: Callable[[str], None],
    ) -> None:
        self._path = path
        self._interval = health_interval
        self._tell = tell
        self._known: set[tuple[str, str]] | None = None
        self.served: Served = read_endpoints(path)
        self._stamp = self._stamp_now()
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.fleet = Fleet(state_dir, config, host=host, port=port)

    async def start(self) -> None:
        """Listen, and serve what the file says.

        Raises:
            ConflictError: the port is taken.
        """
        self._apply()
        try:
            await self.fleet.start()
        except BaseException:
            await self.fleet.abandon(kill=True)
            raise

    async def run(self) -> None:
        """Follow the file and the endpoints' health until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_file())
            if self._interval:
                checks = HealthChecks(self._urls, self._tell_health, interval=self._interval)
                group.create_task(checks.run())

    async def stop(self, grace: float) -> None:
        """Let requests finish for *grace* seconds."""
        await self.fleet.stop(grace)

    def _apply(self) -> None:
        """Endpoints that were not in the file before warm up; the first ones are taken as warm."""
        self.fleet.set_models(self.served.models)
        now = steady()
        names = {(model, e.name) for model, es in self.served.endpoints.items() for e in es}
        for model, endpoints in self.served.endpoints.items():
            self.fleet.set_endpoints(model, [self._warming(model, e, now) for e in endpoints])
        self._known = names if self._known is None else self._known | names

    def _warming(self, model: str, spec: EndpointSpec, now: float) -> EndpointSpec:
        if self._known is None or (model, spec.name) in self._known:
            return spec
        return EndpointSpec(spec.name, spec.url, spec.weight, spec.limit, ready_at=now)

    async def _follow_file(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            stamp = self._stamp_now()
            if stamp is None or stamp == self._stamp:
                continue
            self._stamp = stamp
            try:
                self.served = read_endpoints(self._path)
            except InputErrors as errors:
                self._tell(f"{self._path} is not followed: {errors}")
                continue
            self._apply()
            count = sum(map(len, self.served.endpoints.values()))
            models = len(self.served.models)
            self._tell(f"{self._path}: {models} models, {count} endpoints")

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _urls(self) -> set[str]:
        return {e.url for endpoints in self.served.endpoints.values() for e in endpoints}

    def _tell_health(self, url: str, healthy: bool) -> None:
        self._tell(f"{url} is {'well again' if healthy else 'not well'}")
        for model, endpoints in self.served.endpoints.items():
            for endpoint in endpoints:
                if endpoint.url == url:
                    self.fleet.set_health(model, endpoint.name, healthy=healthy)
