"""Ports that can be off, and files that belong together."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from stoker.cli.params import PORT_OR_OFF, tls_files
from stoker.cli.running import options_of
from stoker.cli.up import up
from stoker.stack.options import OtlpOptions
from stoker.transport.tls import TlsFiles


@pytest.mark.parametrize(
    ("text", "port"), [("0", 0), ("4317", 4317), ("65535", 65535), ("AUTO", "auto"), ("off", "off")]
)
def test_port_is_a_number_or_a_word(text, port):
    assert PORT_OR_OFF.convert(text, None, None) == port


@pytest.mark.parametrize("text", ["-1", "65536", "on", "", "4e3"])
def test_what_is_no_port_is_refused(text):
    with pytest.raises(click.BadParameter, match="is not a port: write 0 to 65535, auto or off"):
        PORT_OR_OFF.convert(text, None, None)


def flags_of(*arguments: str) -> dict:
    return up.make_context("up", ["so.yaml", *arguments]).params


def test_receiver_is_as_the_flags_say():
    flags = flags_of(
        "--otlp-grpc-port=0", "--otlp-http-port=off", "--otlp-tls-cert=c", "--otlp-tls-key=k",
        "--otlp-tls-client-ca=a", "--no-otlp-metric-suffixes", "--otlp-resource-attributes",
        "--no-wake-on-push",
    )  # fmt: skip
    options = options_of(flags)
    tls = TlsFiles(Path("c"), Path("k"), Path("a"))
    assert options.otlp == OtlpOptions(0, "off", tls, suffixes=False, resource_attributes=True)
    assert options.wake_on_push is False


def test_receiver_is_as_it_is_without_flags():
    options = options_of(flags_of())
    assert (options.otlp, options.wake_on_push) == (OtlpOptions(), True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tls_cert": Path("c")}, "`--tls-key` is needed for TLS, too"),
        ({"tls_key": Path("k")}, "`--tls-cert` is needed for TLS, too"),
        ({"tls_client_ca": Path("a")}, "`--tls-cert` and `--tls-key` are needed for TLS, too"),
    ],
)
def test_half_a_pair_is_refused(given, words):
    flags = {"tls_cert": None, "tls_key": None, "tls_client_ca": None} | given
    with pytest.raises(click.UsageError, match=words):
        tls_files(flags)
