"""KServe's Hugging Face server: the vLLM command that its container comes down to.

The image ``kserve/huggingfaceserver`` wraps vLLM and takes vLLM's options beside its own. On a
machine without that image the wrapped engine is run, under the same name, on the same port.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from stoker.resources.commandline import served_names


def _options(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PORT: Final = "8080"
MODEL_MOUNT: Final = "/mnt/models"
SOURCE_URI: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
_HUB: Final = "hf://"
_WITHOUT_VALUE: Final = _options("""
    --disable_lower_case --disable_special_tokens --enable_docs_url --return_probabilities
    --return_token_type_ids
""")
# Options of the wrapper that vLLM does not know; those without a value are above.
_OWN: Final = _WITHOUT_VALUE | _options("""
    --access_log_format --backend --configure_logging --enable_grpc --enable_latency_logging
    --grpc_port --http_port --log_config_file --max_asyncio_workers --max_threads --model_dir
    --model_id --model_name --model_revision --predictor_config --task --tensor_input_names
    --tokenizer_revision --workers
""")
_OTHER_TASKS: Final = _options("""
    fill_mask sequence_classification time_series_forecast token_classification
""")


def is_server(image: str | None) -> bool:
    """Whether an image is that of the server, whatever its registry and tag."""
    last = (image or "").split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]
    return last in {"huggingfaceserver", "huggingfaceserver-gpu"}


def vllm_command(arguments: Sequence[str], source: str | None) -> tuple[str, ...] | None:
    """The command of vLLM for the arguments of the server; None where vLLM is not used.

    Args:
        arguments: ``args`` of the container; the last time that an option is given counts.
        source: where the model comes from: ``hf://Qwen/Qwen2.5-0.5B-Instruct``.
    """
    own, rest = _split(arguments)
    if own.get("--backend") == "huggingface" or own.get("--task") in _OTHER_TASKS:
        return None
    model = own.get("--model_id") or hub_model(source) or own.get("--model_dir") or MODEL_MOUNT
    name = own.get("--model_name", "model")
    revision = own.get("--model_revision")
    return (
        "vllm",
        "serve",
        model,
        "--served-model-name",
        name,
        "--port",
        own.get("--http_port", _PORT),
        *(("--revision", revision) if revision else ()),
        *rest,
    )


def _split(arguments: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The server's own options, and those that it hands to vLLM."""
    own: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        head, equals, value = word.partition("=")
        name = "--" + head[2:].replace("-", "_") if head.startswith("--") else head
        if name not in _OWN:
            rest.append(word)
        elif equals or name in _WITHOUT_VALUE:
            own[name] = value
        else:
            own[name] = next(words, "")
    return own, rest


def hub_model(source: str | None) -> str | None:
    """``Qwen/Qwen2.5-0.5B-Instruct`` of ``hf://Qwen/Qwen2.5-0.5B-Instruct:main``."""
    if not source or not source.startswith(_HUB):
        return None
    return source.removeprefix(_HUB).split(":", 1)[0] or None


def model_source(template: Mapping[str, Any]) -> str | None:
    """Where KServe's storage initializer fetches the model from, None without one.

    The annotation is what KServe writes into the Deployment, the init container what its pod
    webhook makes of it.
    """
    metadata, spec = _mapping(template.get("metadata")), _mapping(template.get("spec"))
    written = _mapping(metadata.get("annotations")).get(SOURCE_URI)
    if written:
        return str(written)
    for container in spec.get("initContainers") or ():
        found = _mapping(container)
        arguments = found.get("args")
        if found.get("name") == "storage-initializer" and isinstance(arguments, list) and arguments:
            return str(arguments[0])
    return None


def with_model(command: Sequence[str], source: str | None) -> tuple[str, ...]:
    """A command with the model's own name in place of the directory that it is mounted at.

    The names under which it is served stay as they were.
    """
    model = hub_model(source)
    if model is None or served_names(command) == ():
        return tuple(command)
    options = {MODEL_MOUNT: model, f"--model={MODEL_MOUNT}": f"--model={model}"}
    replaced = [options.get(word, word) for word in command]
    if served_names(command) == (MODEL_MOUNT,) != served_names(replaced):
        replaced += ["--served-model-name", MODEL_MOUNT]
    return tuple(replaced)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
