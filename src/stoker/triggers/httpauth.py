"""``authModes`` of triggers over HTTP: which parameters, and what they put into a request.

*Source*: ``pkg/scalers/authentication`` of KEDA 2.20.
"""

from __future__ import annotations

import base64

from stoker.triggers.connections import Tls
from stoker.triggers.parameters import AUTH, Parameters, Source, parameter

_BOTH = (Source.METADATA, Source.AUTH)
_MODES = ("apiKey", "basic", "tls", "bearer", "custom", "oauth")

AUTHENTICATION = (
    parameter(
        "authModes;authMode",
        "how requests authenticate; oauth, and apiKey for prometheus, have no effect, as in KEDA",
        "list",
        order=_BOTH,
        enum=_MODES,
        exclusive=("bearer", "basic", "oauth"),
    ),
    parameter("bearerToken;token", "with `bearer`", order=AUTH, secret=True),
    parameter("username", "with `basic`", order=AUTH, secret=True),
    parameter("password", "with `basic`", order=AUTH, secret=True),
    parameter("ca", "PEM of an authority to trust besides the machine's", order=AUTH),
    parameter("cert", "PEM of a client's certificate, with `tls`", order=AUTH),
    parameter("key", "PEM of its key, with `tls`", order=AUTH, secret=True),
    parameter("customAuthHeader", "name of a header, with `custom` for prometheus", order=AUTH),
    parameter("customAuthValue", "its value", order=AUTH, secret=True),
)


def headers(given: Parameters, *modes: str) -> dict[str, str]:
    """The header of the first of *modes* that was asked for: one Authorization at most."""
    asked = given.items("authModes")
    for mode in modes:
        if mode in asked:
            return {"bearer": _bearer, "basic": _basic, "custom": _custom}[mode](given)
    return {}


def tls(given: Parameters) -> Tls:
    """The certificates. KEDA leaves all of them aside without ``authModes``."""
    asked, unsafe = given.items("authModes"), given.boolean("unsafeSsl")
    if not asked:
        return Tls(unsafe=unsafe)
    if "tls" not in asked:
        return Tls(ca=given.text("ca"), unsafe=unsafe)
    return Tls(given.text("ca"), given.text("cert"), given.text("key"), unsafe=unsafe)


def _bearer(given: Parameters) -> dict[str, str]:
    token = given.get("bearerToken")
    if token is None:
        given.refuse("bearer token=<empty> is required when bearer auth is enabled")
    return {"Authorization": f"Bearer {token}"}


def _basic(given: Parameters) -> dict[str, str]:
    user = given.get("username")
    if user is None:
        given.refuse("username=<empty> is required when basic auth is enabled")
    pair = f"{user}:{given.text('password')}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _custom(given: Parameters) -> dict[str, str]:
    name, value = given.get("customAuthHeader"), given.get("customAuthValue")
    if name is None or value is None:
        given.refuse(
            "customAuthHeader=<empty> and customAuthValue=<empty> are required when custom auth "
            "is enabled"
        )
    return {str(name): str(value)}
