"""Variables of KEDA's operator: ``KEDA_*`` in the environment, as its Deployment sets them.

One of them has a flag here, whose default it is. Of others that could change what happens a run
says that it does not follow them. All the rest (concurrent reconciles, leader election, keep-alive)
changes neither decisions nor their time.

*Source*: ``cmd/operator/main.go`` of KEDA and its documentation up to 2.18; 2.20 was not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

TIMEOUT = "KEDA_HTTP_DEFAULT_TIMEOUT"

_NOT_FOLLOWED = {
    "KEDA_CLUSTER_OBJECT_NAMESPACE": "Secrets are found by their names in the files, "
    "whatever their namespace",
    "KEDA_HTTP_MIN_TLS_VERSION": "sources are asked over TLS 1.2 or later",
    "KEDA_HTTP_TLS_CIPHER_LIST": "sources are asked with the ciphers of Python",
    "KEDA_RESTRICT_SECRET_ACCESS": "Secrets of every TriggerAuthentication in the files are read",
}


class TimeoutOption(click.Option):
    """A duration whose variable is KEDA's: whole milliseconds without a unit."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable as a duration, None when it is not set or empty."""
        text = super().resolve_envvar_value(ctx)
        if text is None:
            return None
        if not re.fullmatch(r"\+?0*[1-9]\d*", text):
            raise click.BadParameter(
                f"the variable {TIMEOUT} is `{text}`: KEDA takes whole milliseconds, "
                "more than 0: 3000 is the default",
                ctx=ctx,
                param=self,
            )
        return f"{int(text)}ms"


def notices(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What a cluster with these variables would do otherwise."""
    return tuple(
        f"{name} is set and not followed: {instead}"
        for name, instead in _NOT_FOLLOWED.items()
        if environment.get(name, "") not in ("", "false")
    )


def tell(environment: Mapping[str, str]) -> None:
    """Write the notices to standard error."""
    for notice in notices(environment):
        click.echo(f"note: {notice}", err=True)


def timeout_option(**arguments: Any) -> Callable[[_Command], _Command]:
    """``--keda-http-timeout``; *arguments* are those of a click option."""
    return click.option(
        "--keda-http-timeout",
        cls=TimeoutOption,
        envvar=TIMEOUT,
        show_envvar=True,
        default="3s",
        show_default=True,
        **arguments,
    )
