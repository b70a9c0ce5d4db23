"""Names that may stand in KServe's resources although nothing here reads them.

They are known so that a misspelt name is not taken for one of them. Source: the CRDs of KServe
0.20.
"""

from __future__ import annotations

from stoker.resources import knownfields


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Model servers of other kinds, each a key of the predictor; `huggingface` is read.
FRAMEWORKS = _names("lightgbm onnx paddle pmml pytorch sklearn tensorflow triton xgboost")

PREDICTOR = (
    FRAMEWORKS
    | (knownfields.POD_SPEC - {"workloadRef"})
    | _names("""
        batcher canaryTrafficPercent confidential containerConcurrency deploymentStrategy logger
        name scaleMetricType storageContainerName storageUris timeout workerSpec
    """)
)

MODEL = knownfields.CONTAINER | _names("""
    confidential name protocolVersion runtimeVersion storage
""")

# Of the predictor, what is a field of its pods; of its model, what is a field of its container.
OF_PODS = knownfields.POD_SPEC | _names("terminationGracePeriodSeconds")
OF_CONTAINER = knownfields.CONTAINER | _names("""
    args command env envFrom image livenessProbe ports readinessProbe resources startupProbe
""")

# Of a runtime's spec, what is not a field of its pods.
NOT_OF_RUNTIME_PODS = _names("""
    annotations builtInAdapter disabled grpcDataEndpoint grpcEndpoint httpDataEndpoint labels
    multiModel protocolVersions replicas routerConfig storageHelper supportedModelFormats
    workerSpec
""")

LLM_SPEC = _names("""
    annotations kvCacheOffloading labels parallelism prefill rolloutStrategy router
    storageInitializer tracing worker
""")
