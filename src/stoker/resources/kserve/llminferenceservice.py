"""``serving.kserve.io`` LLMInferenceService: what may stand in it.

Types are those of v1alpha2 in KServe 0.20; of v1alpha1 what both have. Triggers, fallback and
``advanced`` are checked where they end up, in the ScaledObject.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stoker.resources.kserve import fields
from stoker.resources.metadata import ObjectMeta
from stoker.resources.validation import Int32, PartialModel

KIND = "LLMInferenceService"
CONFIG = "LLMInferenceServiceConfig"
VERSIONS = ("serving.kserve.io/v1alpha1", "serving.kserve.io/v1alpha2")
Positive = Annotated[Int32, Field(ge=1)]
Count = Annotated[Int32, Field(ge=0)]


class LLMModel(PartialModel):
    """``model``."""

    uri: Annotated[str, Field(min_length=1)]
    name: str | None = None
    others: ClassVar = frozenset({"confidential", "criticality", "lora"})


class KedaScaling(PartialModel):
    """``keda``: fields of a ScaledObject."""

    polling_interval: Positive | None = None
    cooldown_period: Count | None = None
    initial_cooldown_period: Count | None = None
    idle_replica_count: Count | None = None
    fallback: Any = None
    advanced: Any = None
    triggers: list[Any] | None = None


class Scaling(PartialModel):
    """``scaling``."""

    min_replicas: Positive | None = None
    max_replicas: Positive
    wva: Any = None
    keda: KedaScaling | None = None


class LLMInferenceServiceSpec(PartialModel):
    """``spec``."""

    model: LLMModel | None = None
    base_refs: list[dict[str, Any]] | None = None
    replicas: Count | None = None
    scaling: Scaling | None = None
    template: dict[str, Any] | None = None
    others: ClassVar = fields.LLM_SPEC


class LLMInferenceService(PartialModel):
    """The whole resource."""

    api_version: Literal["serving.kserve.io/v1alpha1", "serving.kserve.io/v1alpha2"]
    kind: Literal["LLMInferenceService"]
    metadata: ObjectMeta
    spec: LLMInferenceServiceSpec
    status: Any = None
