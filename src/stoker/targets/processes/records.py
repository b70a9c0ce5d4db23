"""What is kept on disk, so that a new ``stoker up`` finds what an earlier one started.

``pods/NAME.json``, one for each process that may run, and ``deployments/NAMESPACE.NAME.json`` with
the number of replicas last asked for. Files are written beside and renamed: whoever reads sees the
old content or the new one, and a full disk leaves the old one.
"""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stoker.targets.processes.watchdog import PODS_FOLDER

DEPLOYMENTS_FOLDER = "deployments"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A replica's process and what a successor cannot ask it. Times as in Pod."""

    name: str
    deployment: str
    namespace: str
    template: str
    container: str
    pid: int
    identity: str  # tells the process from a later one with the same pid
    port: int
    gpu_ids: tuple[int, ...]
    created_at: float
    started_at: float
    process_started_at: float
    ready_at: float | None
    restarts: int
    last_restart_at: float | None
    grace_period: float
    terminating: bool
    log_file: str


@dataclass(frozen=True, slots=True)
class KeptReplicas:
    """The number of replicas last asked for, and what the file said then (None: nothing)."""

    replicas: int
    in_file: int | None


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of *path* in one step. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


class RecordStore:
    """The records in one state directory. Writing raises OSError, a full disk among others."""

    def __init__(self, state_dir: Path) -> None:
        self._pods = state_dir / PODS_FOLDER
        self._deployments = state_dir / DEPLOYMENTS_FOLDER

    def prepare(self) -> None:
        """Make the folders."""
        self._pods.mkdir(parents=True, exist_ok=True)
        self._deployments.mkdir(parents=True, exist_ok=True)

    def write(self, record: PodRecord) -> None:
        """Keep *record* in place of the last one of that pod."""
        text = json.dumps({"format": FORMAT} | asdict(record))
        write_atomically(self._pods / f"{record.name}.json", text)

    def remove(self, pod: str) -> None:
        """Forget *pod*."""
        (self._pods / f"{pod}.json").unlink(missing_ok=True)

    def read(self) -> tuple[list[PodRecord], list[Path]]:
        """All records, the oldest pod first, and the files that are none."""
        records: list[PodRecord] = []
        broken: list[Path] = []
        for path in sorted(self._pods.glob("*.json")):
            try:
                records.append(_record(json.loads(path.read_text(encoding="utf-8"))))
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                broken.append(path)
        return sorted(records, key=lambda record: record.created_at), broken

    def replicas(self, namespace: str, deployment: str) -> KeptReplicas | None:
        """What was last asked for; None: nothing is known of the Deployment."""
        try:
            content = json.loads(self._deployment(namespace, deployment).read_text("utf-8"))
            return KeptReplicas(max(int(content["replicas"]), 0), content["in_file"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_replicas(
        self, namespace: str, deployment: str, replicas: int, in_file: int | None
    ) -> None:
        """Keep what was asked for."""
        text = json.dumps({"format": FORMAT, "replicas": replicas, "in_file": in_file})
        write_atomically(self._deployment(namespace, deployment), text)

    def remove_replicas(self, namespace: str, deployment: str) -> None:
        """Forget the Deployment: it was stopped by its user."""
        self._deployment(namespace, deployment).unlink(missing_ok=True)

    def _deployment(self, namespace: str, deployment: str) -> Path:
        return self._deployments / f"{namespace}.{deployment}.json"


def _record(content: dict[str, Any]) -> PodRecord:
    if content.pop("format") != FORMAT:
        raise ValueError("written by another version of Stoker")
    return PodRecord(**content | {"gpu_ids": tuple(content["gpu_ids"])})


def is_full(error: OSError) -> bool:
    """Whether *error* says that there is no space left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
