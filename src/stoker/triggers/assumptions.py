"""What a trigger would be if its secrets and variables were known, for those who only look at it.

A file can be judged without the Secret that only a cluster has: what is wrong whatever the secrets
are, is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stoker.errors import InputError
from stoker.scaling.spec import TriggerSpec
from stoker.triggers.base import Trigger, TriggerContext
from stoker.triggers.parameters import Source
from stoker.triggers.registry import SUPPORTED, build_trigger

# What people keep in a TriggerAuthentication.
_USUAL = frozenset(
    {
        "address", "apiKey", "bearerToken", "customAuthHeader", "customAuthValue", "host",
        "password", "username",
    }
)  # fmt: skip
# A text that some parameter of any type takes: an address, a URL of each protocol.
_TEXTS = ("127.0.0.1:1", "http://127.0.0.1:1", "amqp://127.0.0.1:1")


def build_assuming(spec: TriggerSpec, context: TriggerContext) -> Trigger:
    """The trigger, with something in the place of what only its environment knows.

    Raises:
        InputError: there is nothing with which it could be built.
    """
    found: InputError | None = None
    for attempt in _attempts(spec, context):
        try:
            return build_trigger(spec, attempt)
        except InputError as error:
            found = found or error
    raise found or InputError(f"no scaler found for type: {spec.type}")


def certain_problem(spec: TriggerSpec, context: TriggerContext) -> str | None:
    """What is wrong whatever the environment gives, in KEDA's words. None: nothing."""
    first, *others = (_problems(spec, attempt) for attempt in _attempts(spec, context))
    certain = [line for line in first[1] if all(line in lines for _, lines in others)]
    return first[0] + "\n".join(certain) if certain else None


def _problems(spec: TriggerSpec, context: TriggerContext) -> tuple[str, list[str]]:
    """The beginning of the message that is the same for all, and its lines."""
    try:
        build_trigger(spec, context)
    except InputError as error:
        begin, metadata, problems = error.message.partition(" metadata: ")
        return (begin + metadata, problems.split("\n")) if metadata else ("", [error.message])
    return "", []


def _attempts(spec: TriggerSpec, context: TriggerContext) -> Iterator[TriggerContext]:
    """With nothing, and then with each of some texts for whatever is not in the metadata."""
    yield context
    variables = [value for key, value in spec.metadata.items() if key.endswith("FromEnv")]
    made = SUPPORTED.get(spec.type)
    if made is None or not (variables or spec.authentication_ref):
        return
    names = [
        name
        for one in made.PARAMETERS
        for name in one.names
        if spec.authentication_ref and Source.AUTH in one.order and name in _USUAL
    ]
    for text in _TEXTS:
        auth, env = dict.fromkeys(names, text), dict.fromkeys(variables, text)
        yield replace(context, auth=auth, env=env)
