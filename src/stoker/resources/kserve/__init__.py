"""KServe: InferenceService and LLMInferenceService, and what its controllers make of them.

``inferenceservice`` says what may stand in the resource, ``validation`` what the webhook refuses,
``runtimes`` and ``podtemplate`` how the pod comes about, ``scaling`` what scales it, ``collector``
and ``service`` the objects beside it, and ``reader`` puts them together.
"""

from stoker.resources.kserve.reader import KServeReader

__all__ = ["KServeReader"]
