"""YAML in the hand of kubectl: no anchors, double quotes where a string needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import yaml

_STRING = "tag:yaml.org,2002:str"


class _Dumper(yaml.SafeDumper):
    """PyYAML quotes with ' where Go's YAML quotes with " strings that would be something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - objects are trees
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        resolve: Callable[..., str] = self.resolve  # the stubs leave it untyped
        plain = resolve(yaml.ScalarNode, text, (True, False))
        if "\n" in text:
            style = "|"
        elif plain != _STRING:
            style = '"'
        else:
            style = None
        return self.represent_scalar(_STRING, text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def to_yaml(document: Any, *, sort_keys: bool = True) -> str:
    """*document* as text. Without *sort_keys* the fields stay in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=sort_keys, allow_unicode=True, width=80)


def to_yaml_stream(documents: Iterable[Any]) -> str:
    """Several documents with ``---`` between them, their fields in their order."""
    return "---\n".join(to_yaml(document, sort_keys=False) for document in documents)
