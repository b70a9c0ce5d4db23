"""A queue by RabbitMQ's management API."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from stoker.errors import StokerError
from stoker.triggers.connections import Lease, Pool, Tls
from stoker.triggers.http import HttpClient, without_password
from stoker.triggers.rabbitmq.oauth import Credentials, TokenSource
from stoker.triggers.rabbitmq.queues import QueueStatus, Selection, composed

_ROOT = "/%2F"
_SHOWN = 300  # characters of an answer that are repeated in an error


class ManagementSource:
    """Asks ``GET /api/queues/VHOST/QUEUE``."""

    def __init__(
        self,
        host: str,
        username: str,
        password: str,
        tls: Tls,
        timeout: float,
        pool: Pool,
        oauth: Credentials | None = None,
    ) -> None:
        self._host = host
        self._user = (username, password) if username and password else None
        self._tls = tls
        self._timeout = timeout
        self._pool = pool
        self._tokens = None if oauth is None else TokenSource(oauth)
        self._http: Lease[HttpClient] | None = None

    async def status(self, selection: Selection) -> QueueStatus:
        """The selected queue, or several as one. Raises StokerError."""
        if self._http is None:
            self._http = HttpClient.lease(self._pool, self._tls)
        url, headers = self.request(selection)
        if self._tokens is not None:
            headers = await self._tokens.header(self._http.value, self._timeout)
        status, body = await self._http.value.get(url, headers, self._timeout)
        if status != 200:
            said = body.decode("utf-8", "replace")[:_SHOWN]
            raise StokerError(
                f"error requesting RabbitMQ API status: {status}, response: {said}, "
                f"from: {without_password(url)}",
                hint="the credentials are missing or wrong" if status == 401 else None,
            )
        try:
            answer = json.loads(body)
        except ValueError:
            raise StokerError("the answer of the management API is not JSON") from None
        if not isinstance(answer, dict):
            raise StokerError("the answer of the management API is no object")
        if not selection.regex:
            return _queue(answer, selection)
        if _number(answer, "page_count") > 1:
            raise StokerError("regex matches more queues than can be recovered at once")
        items = answer.get("items") or []
        return composed([_queue(item, selection) for item in items], selection.operation)

    def request(self, selection: Selection) -> tuple[str, dict[str, str]]:
        """URL and headers, the path as KEDA makes it; credentials are in a header."""
        parts = urlsplit(self._host)
        head, _, last = parts.path.rpartition("/")
        vhost = f"/{quote(selection.vhost, safe='')}" if selection.vhost else f"/{last}"
        vhost = _ROOT if vhost == "/" else vhost
        prefix = "/" + "/".join(part for part in head.split("/") if part) if head.strip("/") else ""
        base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{prefix}/api/queues{vhost}"
        name = quote_plus(selection.queue)
        if selection.regex:
            url = (
                f"{base}?page=1&use_regex=true&pagination=false&name={name}"
                f"&page_size={selection.page_size}"
            )
        else:
            # a path, in which `+` would be a plus
            url = f"{base}/{quote(selection.queue, safe='')}"
        user = self._user
        if user is None and parts.username is not None:
            user = (unquote(parts.username), unquote(parts.password or ""))
        if user is None:
            return url, {}
        pair = base64.b64encode(":".join(user).encode()).decode()
        return url, {"Authorization": f"Basic {pair}"}

    async def close(self) -> None:
        """Give back the HTTP session."""
        if self._http is not None:
            await self._http.release()
            self._http = None


def _queue(answer: Any, selection: Selection) -> QueueStatus:
    item = answer if isinstance(answer, dict) else {}
    stats = item.get("message_stats")
    stats = stats if isinstance(stats, dict) else {}
    return QueueStatus(
        messages=int(_number(item, "messages_ready" if selection.ready_only else "messages")),
        publish_rate=_number(stats.get("publish_details"), "rate"),
        deliver_rate=_number(stats.get("deliver_get_details"), "rate"),
    )


def _number(item: Any, key: str) -> float:
    """What a new queue has not counted yet is 0."""
    value = item.get(key) if isinstance(item, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0
