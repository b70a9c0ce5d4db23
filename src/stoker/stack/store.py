"""What must survive ``kill -9``: the memory of every ScaledObject, in the state directory."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.scaling.state import ScalingState

_log = logging.getLogger(__name__)
_FILE = "scaling.json"


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is kept of one ScaledObject: the core's memory, and annotations set while it ran."""

    state: ScalingState
    annotations: Mapping[str, str | None] = field(default_factory=dict)


class ScalingStore:
    """Reads the file once, and writes it whole after each change."""

    def __init__(self, state_dir: Path, *, on_trouble: Callable[[str], None]) -> None:
        self._path = state_dir / _FILE
        self._on_trouble = on_trouble
        self._written: str | None = None
        self._troubled = False

    def load(self) -> dict[str, Remembered]:
        """By name of the ScaledObject. A file that cannot be read is set aside, and told."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        try:
            content = json.loads(text)
            return {
                name: Remembered(ScalingState.from_dict(kept["state"]), kept["annotations"])
                for name, kept in content.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._path.with_suffix(".unreadable")
            self._path.replace(aside)
            self._on_trouble(
                f"{self._path} could not be read ({error}) and is now {aside.name}; "
                "stabilization history and cooldowns start anew"
            )
            return {}

    def forget(self) -> None:
        """After a clean stop nothing is left to be remembered, as after `helm uninstall`."""
        self._path.unlink(missing_ok=True)

    def save(self, remembered: Mapping[str, Remembered]) -> None:
        """Replace the file in one piece. A full disk is told once, and once when it is over."""
        content: dict[str, Any] = {
            name: {"state": kept.state.to_dict(), "annotations": dict(kept.annotations)}
            for name, kept in sorted(remembered.items())
        }
        text = json.dumps(content, separators=(",", ":"))
        if text == self._written:
            return
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            if not self._troubled:
                self._on_trouble(
                    f"cannot write {self._path}: {error.strerror}; a restart would lose the "
                    "stabilization history (free some space, or use another --state-dir)"
                )
            self._troubled = True
            return
        if self._troubled:
            self._on_trouble(f"{self._path} can be written again")
        self._troubled = False
        self._written = text
