"""Flags of the controllers that a run stands in for: the HPA's and KEDA's operator.

Beside the short names stand those of kube-controller-manager, so that a line of its manifest can be
copied. `up`, `backtest` and `replay` share them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from stoker.cli.operatorvariables import tell, timeout_option
from stoker.cli.params import DURATION

_Command = TypeVar("_Command", bound=Callable[..., Any])
_HPA = "--horizontal-pod-autoscaler"


def _of_hpa(name: str, default: str, help_text: str) -> Callable[[_Command], _Command]:
    """A duration that kube-controller-manager knows under a longer name, too."""
    return click.option(
        f"--{name}",
        f"{_HPA}-{name}",
        name.replace("-", "_"),
        type=DURATION,
        default=default,
        show_default=True,
        help=help_text,
    )


_OPTIONS = (
    _of_hpa("sync-period", "15s", "Of the HPA."),
    click.option("--polling-interval", type=DURATION, help="Of KEDA, in place of what files say."),
    click.option(
        "--stabilization-window",
        type=DURATION,
        help="Of the HPA for scale-down, in place of what files say.",
    ),
    _of_hpa(
        "downscale-stabilization", "5m", "The HPA controller's window for files that set none."
    ),
    click.option(
        "--tolerance",
        f"{_HPA}-tolerance",
        "tolerance",
        type=click.FloatRange(0),
        default=0.1,
        show_default=True,
        help="Of the HPA.",
    ),
    _of_hpa(
        "cpu-initialization-period",
        "5m",
        "After its start a pod's cpu counts only once it is ready, and what was measured after.",
    ),
    _of_hpa(
        "initial-readiness-delay",
        "30s",
        "A pod that is not ready this long after its start was never ready, for its cpu.",
    ),
    click.option(
        "--kubernetes-version",
        default="1.36",
        show_default=True,
        help="Whose HPA it is; 1.37 lets a HorizontalPodAutoscaler scale to zero.",
    ),
    timeout_option(type=DURATION, help="Of one question of KEDA to a source."),
)


def controller_options(command: _Command) -> _Command:
    """Give a command all flags of the controllers, in one order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_of(flags: Mapping[str, Any]) -> Any:
    """The flags as ControllerSettings. Raises InputError for what no controller takes."""
    from stoker.scaling.settings import ControllerSettings  # noqa: PLC0415 - keeps `--help` fast

    tell(os.environ)
    window = flags["stabilization_window"]
    return ControllerSettings(
        sync_period=flags["sync_period"],
        tolerance=flags["tolerance"],
        downscale_stabilization=flags["downscale_stabilization"] if window is None else window,
        kubernetes_version=flags["kubernetes_version"],
        cpu_initialization_period=flags["cpu_initialization_period"],
        initial_readiness_delay=flags["initial_readiness_delay"],
        http_timeout=flags["keda_http_timeout"],
    )
