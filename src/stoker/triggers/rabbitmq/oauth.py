"""OAuth2 with client credentials, for the management API: a token, until it ends.

*Source*: ``golang.org/x/oauth2/clientcredentials``, as KEDA 2.20 uses it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote_plus

from stoker.errors import StokerError
from stoker.triggers.http import HttpClient
from stoker.triggers.parameters import Parameters

_EARLY = 10.0  # seconds before its end a token is not used any more


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a token is asked with."""

    uri: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Parameters) -> Credentials | None:
        """None: OAuth2 was not asked for. What is wrong with it is told elsewhere."""
        if not given.get("oauthTokenURI"):
            return None
        return cls(
            given.text("oauthTokenURI"),
            given.text("clientID"),
            given.text("clientSecret"),
            tuple(one for one in given.text("scopes").split(",") if one),
            dict(parse_qsl(given.text("endpointParams"))),
        )


class TokenSource:
    """The header with a token that is still good."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._header: dict[str, str] = {}
        self._until = 0.0  # of the event loop

    async def header(self, http: HttpClient, timeout: float) -> dict[str, str]:  # noqa: ASYNC109
        """``Authorization``. Raises StokerError."""
        now = asyncio.get_running_loop().time()
        if self._header and now < self._until:
            return self._header
        token, lifetime = await self._fetch(http, timeout)
        self._header = {"Authorization": f"Bearer {token}"}
        self._until = now + lifetime - _EARLY
        return self._header

    async def _fetch(self, http: HttpClient, timeout: float) -> tuple[str, float]:  # noqa: ASYNC109
        """Token and seconds. The client is named in a header, or else in the form."""
        asked = self._credentials
        form = {"grant_type": "client_credentials", **asked.parameters}
        if asked.scopes:
            form["scope"] = " ".join(asked.scopes)
        pair = f"{quote_plus(asked.client_id)}:{quote_plus(asked.client_secret)}"
        basic = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        status, body = await http.post_form(asked.uri, form, basic, timeout)
        if status >= 400:
            form |= {"client_id": asked.client_id, "client_secret": asked.client_secret}
            status, body = await http.post_form(asked.uri, form, {}, timeout)
        if not 200 <= status <= 299:
            raise StokerError(
                f"oauth2: cannot fetch token: {status}",
                hint="clientID and clientSecret are wrong, or the client may not have the scopes",
            )
        try:
            answer = json.loads(body)
            return str(answer["access_token"]), float(answer.get("expires_in") or 3600)
        except (ValueError, KeyError, TypeError):
            raise StokerError("oauth2: server response missing access_token") from None
