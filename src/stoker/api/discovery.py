"""Where a running Stoker is found: ``control.json`` in the state directory, for its owner only."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from stoker.errors import ConflictError, MachineError

_FILE = "control.json"


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a command needs to reach a run."""

    url: str
    token: str
    pid: int
    namespace: str


def default_state_dir() -> Path:
    """``$STOKER_STATE_DIR``, else ``$XDG_STATE_HOME/stoker``, else ``~/.local/state/stoker``."""
    if chosen := os.environ.get("STOKER_STATE_DIR"):
        return Path(chosen)
    if state_home := os.environ.get("XDG_STATE_HOME"):
        return Path(state_home) / "stoker"
    return Path.home() / ".local" / "state" / "stoker"


def write_discovery(state_dir: Path, discovery: Discovery) -> Path:
    """Write the file in one piece, readable by its owner only: it holds the token."""
    path = state_dir / _FILE
    draft = state_dir / f".{_FILE}.{discovery.pid}"
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)  # a draft left by a crash keeps its own mode
            json.dump(asdict(discovery), file)
        draft.replace(path)
    except OSError as error:
        raise MachineError(
            f"cannot write {path}: {error.strerror}",
            hint="choose another state directory with --state-dir",
        ) from error
    return path


def remove_discovery(state_dir: Path) -> None:
    """Take the file away. Nothing happens when it is gone already."""
    with contextlib.suppress(FileNotFoundError):
        (state_dir / _FILE).unlink()


def read_discovery(state_dir: Path) -> Discovery:
    """The run that *state_dir* belongs to. Raises ConflictError when there is none."""
    path = state_dir / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Discovery(
            url=str(content["url"]),
            token=str(content["token"]),
            pid=int(content["pid"]),
            namespace=str(content["namespace"]),
        )
    except FileNotFoundError:
        raise nothing_runs(state_dir) from None
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConflictError(
            f"{path} is not a discovery file of Stoker",
            hint="remove it and start again with `stoker up FILE`",
        ) from error


def nothing_runs(state_dir: Path) -> ConflictError:
    """The error when no Stoker answers."""
    return ConflictError(
        f"no Stoker is running (looked in {state_dir})",
        hint="start one with `stoker up FILE`, or name its state directory with --state-dir",
    )
