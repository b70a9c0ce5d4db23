"""Flags of the controllers, the same for every command that stands in for them."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from stoker.cli.backtest import backtest
from stoker.cli.controllers import controller_options, settings_of
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
