"""Flags of the controllers, the same for every command that stands in for them."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from stoker.cli import stoker
from stoker.cli.backtest import backtest
from stoker.cli.controllers import controller_options, settings_of
from stoker.cli.operatorvariables import notices, tell
from stoker.cli.replay import replay
from stoker.cli.up import up
from stoker.errors import InputError
from stoker.scaling.settings import ControllerSettings


def parsed(*arguments: str) -> ControllerSettings:
    found: list[ControllerSettings] = []

    @click.command()
    @controller_options
    def command(**flags: object) -> None:
        found.append(settings_of(flags))

    result = CliRunner().invoke(command, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return found[0]


def asked(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """What `stoker` answers. A command alone would keep the flags for help that it has alone."""
    return CliRunner().invoke(stoker, arguments, env=env)


def test_without_flags_they_are_those_of_the_controllers() -> None:
    assert parsed() == ControllerSettings()


def test_a_line_of_the_controller_managers_manifest_can_be_copied() -> None:
    settings = parsed(
        "--horizontal-pod-autoscaler-sync-period=30s",
        "--horizontal-pod-autoscaler-tolerance=0.2",
        "--horizontal-pod-autoscaler-downscale-stabilization=1m30s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=2m",
        "--horizontal-pod-autoscaler-initial-readiness-delay=10s",
    )

    assert settings == ControllerSettings(
        sync_period=30.0,
        tolerance=0.2,
        downscale_stabilization=90.0,
        cpu_initialization_period=120.0,
        initial_readiness_delay=10.0,
    )


def test_a_window_of_files_is_that_of_the_controller_too() -> None:
    settings = parsed("--stabilization-window=20s", "--downscale-stabilization=1m")

    assert settings.downscale_stabilization == 20.0


def test_keda_and_the_version_have_flags() -> None:
    settings = parsed("--keda-http-timeout=500ms", "--kubernetes-version=1.37")

    assert (settings.http_timeout, settings.scale_to_zero) == (0.5, True)


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(InputError, match="is not a Kubernetes version"):
        parsed("--kubernetes-version=latest")


@pytest.mark.parametrize("command", [up, backtest, replay], ids=lambda command: command.name)
def test_every_command_that_decides_has_all_of_them(command: click.Command) -> None:
    @click.command()
    @controller_options
    def only(**_: object) -> None:
        """Nothing else."""

    assert {p.name for p in only.params} <= {p.name for p in command.params}


def test_the_timeout_of_keda_is_taken_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whole milliseconds, as its Deployment has it; a flag goes before it."""
    monkeypatch.setenv("KEDA_HTTP_DEFAULT_TIMEOUT", "1500")

    assert parsed().http_timeout == 1.5
    assert parsed("--keda-http-timeout=4").http_timeout == 4.0


def test_an_empty_variable_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEDA_HTTP_DEFAULT_TIMEOUT", "")

    assert parsed().http_timeout == 3.0


@pytest.mark.parametrize("text", ["3s", "1.5", "-1", "0", "three"])
def test_what_keda_would_not_take_is_refused(text: str) -> None:
    """KEDA's operator does not start with it; without a timeout nothing here would end."""
    result = asked("backtest", "a.yaml", env={"KEDA_HTTP_DEFAULT_TIMEOUT": text})

    assert result.exit_code == 2
    assert f"KEDA_HTTP_DEFAULT_TIMEOUT is `{text}`" in result.output


def test_help_names_the_variable() -> None:
    for command in ("up", "backtest", "replay"):
        assert "KEDA_HTTP_DEFAULT_TIMEOUT" in asked(command, "--help").output, command


def test_variables_that_are_not_followed_are_told() -> None:
    """Those that change nothing, and those of other programs, are not."""
    told = notices(
        {
            "KEDA_RESTRICT_SECRET_ACCESS": "true",
            "KEDA_HTTP_MIN_TLS_VERSION": "TLS13",
            "KEDA_HTTP_TLS_CIPHER_LIST": "",
            "KEDA_SCALEDOBJECT_CTRL_MAX_RECONCILES": "10",
            "KEDA_ENABLED": "true",
        }
    )

    assert [notice.split()[0] for notice in told] == [
        "KEDA_HTTP_MIN_TLS_VERSION",
        "KEDA_RESTRICT_SECRET_ACCESS",
    ]
    assert notices({"KEDA_RESTRICT_SECRET_ACCESS": "false"}) == ()


def test_a_run_writes_them_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEDA_RESTRICT_SECRET_ACCESS", "true")

    tell(os.environ)

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("note: KEDA_RESTRICT_SECRET_ACCESS is set and not followed: ")


ZERO = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: a}
spec:
  minReplicas: 0
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}
  metrics:
  - type: External
    external: {metric: {name: q}, target: {type: AverageValue, averageValue: "5"}}
"""


def test_render_and_check_know_the_gate_of_zero_by_the_version(tmp_path: Path) -> None:
    """1.37 takes `minReplicas: 0` of an own HPA; before it the API server refuses it."""
    path = tmp_path / "hpa.yaml"
    path.write_text(ZERO)

    for command in ("render", "check"):
        old = asked(command, str(path), "--kubernetes-version=1.36")
        new = asked(command, str(path), "--kubernetes-version=1.37")
        told = f"{old.output}{old.exception}"
        assert "minReplicas" in told, command
        assert "minReplicas" not in f"{new.output}{new.exception}".replace("minReplicas: 0\n", "")
