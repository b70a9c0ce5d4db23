"""HTTP for triggers: one session a TLS setting, Go's words for what fails, limits on answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from stoker.errors import StokerError
from stoker.triggers.connections import Lease, Pool, Tls

if TYPE_CHECKING:
    import aiohttp

MAX_BYTES = 16 * 2**20  # of an answer; KEDA has no limit and reads until its memory ends
CONNECTIONS = 64  # at once to one host: more wait, and waiting does not count as their time


class HttpClient:
    """GET requests over one session; :meth:`lease` shares it."""

    def __init__(self, tls: Tls) -> None:
        import aiohttp  # noqa: PLC0415 - 200 ms that only triggers over HTTP need

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls.context(), limit=0, keepalive_timeout=90.0, enable_cleanup_closed=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            headers={"User-Agent": "stoker"},
        )
        self._slots: dict[str, asyncio.Semaphore] = {}

    @classmethod
    def lease(cls, pool: Pool, tls: Tls) -> Lease[HttpClient]:
        """The client that all triggers with this *tls* share.

        Raises:
            StokerError: the certificates cannot be used.
        """

        def make() -> tuple[HttpClient, Callable[[], Awaitable[object]]]:
            client = cls(tls)
            return client, client.close

        return pool.lease(("http", tls), make)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - Go's Client.Timeout
        *,
        shown: str = "",
    ) -> tuple[int, bytes]:
        """Status and body of a GET; *timeout* seconds from the request to the body's last byte.

        *shown* stands for the address in errors, which otherwise would differ at every poll.

        Raises:
            StokerError: there was no answer, or too long a one; in Go's words.
        """
        return await self._request("GET", url, headers, timeout, shown=shown)

    async def post_form(
        self,
        url: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - Go's Client.Timeout
    ) -> tuple[int, bytes]:
        """Status and body of a POST of *form*. Raises StokerError as :meth:`get` does."""
        return await self._request("POST", url, headers, timeout, form=form)

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109
        *,
        shown: str = "",
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        import aiohttp  # noqa: PLC0415
        from yarl import URL  # noqa: PLC0415

        shown, verb = without_password(shown or url), method.capitalize()
        try:
            target = URL(url, encoded=True)
        except ValueError as error:
            raise StokerError(f'parse "{shown}": {error}') from None
        try:
            slots = self._slots.setdefault(target.authority, asyncio.Semaphore(CONNECTIONS))
            async with (
                slots,
                asyncio.timeout(timeout),
                self._session.request(method, target, headers=headers, data=form) as response,
            ):
                return response.status, await _body(response, shown)
        except TimeoutError:
            raise StokerError(
                f'{verb} "{shown}": context deadline exceeded '
                "(Client.Timeout exceeded while awaiting headers)",
                hint=f"no answer in {timeout:g} s",
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            hint = _hint(error, target.scheme, target.host or "")
            raise StokerError(f'{verb} "{shown}": {_in_go(error)}', hint=hint) from None


def _hint(error: Exception, scheme: str, host: str) -> str | None:
    import aiohttp  # noqa: PLC0415

    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return service_hint(host)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "give its authority as `ca` in a TriggerAuthentication"
    if isinstance(error, aiohttp.ServerDisconnectedError) and scheme == "https":
        return "the server hung up: does it want a client's certificate? See authModes: tls"
    return None


def service_hint(host: str) -> str | None:
    """What to do about a name that only a cluster can resolve; None: it is not such a name."""
    if not host.rstrip(".").endswith((".svc", ".svc.cluster.local")):
        return None
    return (
        "a Service's name means something inside a cluster only: write an address that this "
        "machine reaches, or forward it and name it in /etc/hosts"
    )


async def _body(response: aiohttp.ClientResponse, shown: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(65536):
        size += len(part)
        if size > MAX_BYTES:
            raise StokerError(
                f'Get "{shown}": the answer is longer than {MAX_BYTES // 2**20} MiB',
                hint="no metric needs that much; is this the right address?",
            )
        parts.append(part)
    return b"".join(parts)


def without_password(url: str) -> str:
    """The URL as Go's errors show it: ``xxxxx`` in the place of a password."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return url
    if password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:xxxxx@{host}"))


def _in_go(error: Exception) -> str:
    """What Go's HTTP client says of the same failure."""
    import aiohttp  # noqa: PLC0415

    match error:
        case aiohttp.ClientConnectorCertificateError():
            why = _certificate(error.certificate_error)
            told = f"tls: failed to verify certificate: x509: {why}"
        case aiohttp.ClientConnectorDNSError():
            told = f"dial tcp: lookup {error.host}: no such host"
        case aiohttp.ClientConnectorSSLError():
            told = f"remote error: tls: {_reason(error.os_error)}"
        case aiohttp.ClientConnectorError():
            refused = isinstance(error.os_error, ConnectionRefusedError)
            what = "connection refused" if refused else str(error.os_error)
            told = f"dial tcp {error.host}:{error.port}: connect: {what}"
        case aiohttp.ServerDisconnectedError():
            told = "EOF"
        case ssl.SSLError():
            told = f"remote error: tls: {_reason(error)}"
        case ConnectionResetError():
            told = "read: connection reset by peer"
        case _:
            told = str(error) or type(error).__name__
    return told


def _certificate(error: Exception) -> str:
    message = getattr(error, "verify_message", "") or str(error)
    if "self-signed" in message or "unable to get local issuer" in message:
        return "certificate signed by unknown authority"
    return str(message)


def _reason(error: object) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason).replace("_", " ").lower() if reason else str(error)
    return text.removeprefix("tlsv13 alert ").removeprefix("sslv3 alert ")
