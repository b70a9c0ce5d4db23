"""`stoker scaler`: serve triggers and formulas to an existing KEDA."""

from __future__ import annotations

from typing import Any

import click

from stoker.cli.files import file_options
from stoker.cli.operatorvariables import timeout_option
from stoker.cli.params import DURATION, PEM, PORT_OR_OFF


@click.command(short_help="Serve triggers and formulas to an existing KEDA, as external scaler.")
@file_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9091, show_default=True)
@click.option(
    "--metrics-port",
    type=PORT_OR_OFF,
    default="off",
    show_default=True,
    help="Of /metrics, about the scaler itself; auto is 9092.",
)
@click.option(
    "--interval", type=DURATION, default="5s", show_default=True, help="Between reads of sources."
)
@click.option(
    "--max-age",
    type=DURATION,
    default="30s",
    show_default=True,
    help="A good value is served so long while its source fails.",
)
@click.option("--grace", type=DURATION, default="5s", show_default=True, help="For calls at stop.")
@click.option("--tls-cert", type=PEM, help="Serve over TLS with this certificate (PEM).")
@click.option("--tls-key", type=PEM, help="The key of it.")
@click.option("--tls-client-ca", type=PEM, help="KEDA must show a certificate of it (mTLS).")
@timeout_option(type=DURATION, help="Of one read.")
def scaler(**flags: Any) -> None:
    """Serve the triggers of the ScaledObjects in FILE... over KEDA's external scaler protocol.

    An existing KEDA then scales by them with a trigger of `type: external` or `external-push`. A
    ScaledObject with a formula is served as one metric, the value of the formula.

    Ends at Ctrl-C or SIGTERM; calls that run may finish.
    """
    from stoker.cli.serving import run_scaler  # noqa: PLC0415 - keeps `--help` fast

    run_scaler(flags)
