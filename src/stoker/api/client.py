"""The commands' side of the control API. Blocking, standard library only: `get` starts fast."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from stoker.api.discovery import Discovery, default_state_dir, nothing_runs, read_discovery
from stoker.api.kinds import Kind, ServerError
from stoker.api.views import Overview
from stoker.errors import ConflictError

JsonObject = dict[str, Any]
TIMEOUT = 10.0  # seconds for an answer; streams wait as long as it takes


class Client:
    """Talks to one running Stoker."""

    def __init__(self, discovery: Discovery, state_dir: Path) -> None:
        self.namespace = discovery.namespace
        self._state_dir = state_dir
        self._address = urlsplit(discovery.url).netloc
        self._headers = {"Authorization": f"Bearer {discovery.token}"}

    @classmethod
    def discover(cls, state_dir: Path | None = None) -> Client:
        """The run of *state_dir*. Raises ConflictError when nothing runs there."""
        directory = state_dir or default_state_dir()
        return cls(read_discovery(directory), directory)

    def objects(self, kind: Kind) -> list[JsonObject]:
        """All objects of *kind*, in the order of namespace and name."""
        return cast("list[JsonObject]", self._ask(f"/objects/{kind.plural}")["items"])

    def get(self, kind: Kind, name: str) -> JsonObject:
        """One object. Raises ServerError NotFound."""
        return self._ask(f"/objects/{kind.plural}/{quote(name)}")

    def watch(self, kind: Kind, name: str | None = None) -> Iterator[JsonObject]:
        """``{type, object}``: what is there, a BOOKMARK, then changes, until the run ends."""
        path = f"/objects/{kind.plural}" + (f"/{quote(name)}" if name else "")
        return self._lines(path + "?watch=1")

    def ticks(self, name: str, limit: int = 20) -> list[JsonObject]:
        """The last ticks of a ScaledObject, the newest last."""
        return cast("list[JsonObject]", self._ask(f"/ticks/{quote(name)}?limit={limit}")["items"])

    def overview(self) -> Overview:
        """The state of the whole run."""
        return cast("Overview", self._ask("/overview"))

    def overviews(self) -> Iterator[Overview]:
        """The state of the whole run, again at each change, until the run ends."""
        return cast("Iterator[Overview]", self._lines("/overview?watch=1"))

    def logs(
        self, pod: str, *, follow: bool = False, tail: int | None = None, previous: bool = False
    ) -> Iterator[bytes]:
        """The output of a replica, as it comes."""
        query = {"follow": follow, "previous": previous, "tail": tail}
        given = {
            key: 1 if value is True else value
            for key, value in query.items()
            if value is not None and value is not False
        }
        with self._request("GET", f"/logs/{quote(pod)}?{urlencode(given)}", timeout=None) as answer:
            while chunk := answer.read1(65536):
                yield chunk

    def scale(self, kind: Kind, name: str, replicas: int) -> JsonObject:
        """Set the replicas of a Deployment."""
        return self._ask("/scale", {"kind": kind.plural, "name": name, "replicas": replicas})

    def annotate(self, kind: Kind, name: str, annotations: Mapping[str, str | None]) -> JsonObject:
        """Set annotations; None removes one."""
        body = {"kind": kind.plural, "name": name, "annotations": dict(annotations)}
        return self._ask("/annotate", body)

    def version(self) -> str:
        """The version of the running Stoker."""
        return str(self._ask("/version")["version"])

    def _ask(self, path: str, body: JsonObject | None = None) -> JsonObject:
        method = "GET" if body is None else "POST"
        with self._request(method, path, timeout=TIMEOUT, body=body) as answer:
            return cast("JsonObject", json.loads(answer.read()))

    def _lines(self, path: str) -> Iterator[JsonObject]:
        with self._request("GET", path, timeout=None) as answer:
            for line in answer:
                if line.strip():
                    yield json.loads(line)

    @contextmanager
    def _request(
        self, method: str, path: str, *, timeout: float | None, body: JsonObject | None = None
    ) -> Iterator[HTTPResponse]:
        connection = HTTPConnection(self._address, timeout=timeout)
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, self._headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise _refusal(answer)
            yield answer
        except ConnectionRefusedError:
            raise nothing_runs(self._state_dir) from None
        except TimeoutError:
            raise ConflictError(
                f"Stoker at {self._address} did not answer within {TIMEOUT:.0f} s",
                hint="is the machine overloaded? `stoker up` prints what it does",
            ) from None
        except (HTTPException, ConnectionError) as error:
            raise ConflictError(
                f"Stoker at {self._address} closed the connection", hint="has it been stopped?"
            ) from error
        finally:
            connection.close()


def _refusal(answer: HTTPResponse) -> ServerError:
    try:
        status = json.loads(answer.read())
        return ServerError(
            str(status["message"]),
            reason=str(status["reason"]),
            code=answer.status,
            hint=status.get("hint"),
        )
    except (ValueError, KeyError, TypeError):
        return ServerError(f"HTTP {answer.status}", reason="InternalError", code=answer.status)
