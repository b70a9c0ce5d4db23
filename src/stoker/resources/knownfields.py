"""Names that may stand in resources although nothing here reads them.

They are known so that a misspelt name is not taken for one of them. Sources: the Pod and Deployment
schema of Kubernetes 1.36; values, templates and tutorials of production-stack's chart 0.1.12.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONTAINER = _names("""
    imagePullPolicy lifecycle resizePolicy restartPolicy restartPolicyRules securityContext
    stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices
    volumeMounts workingDir
""")

POD_SPEC = _names("""
    activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy
    enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers
    hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead
    preemptionPolicy priority priorityClassName readinessGates resourceClaims resources
    restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount
    serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain tolerations
    topologySpreadConstraints volumes workloadRef
""")

DEPLOYMENT_SPEC = _names("""
    minReadySeconds paused progressDeadlineSeconds revisionHistoryLimit selector strategy
""")

STATEFUL_SET_SPEC = DEPLOYMENT_SPEC | _names("""
    ordinals persistentVolumeClaimRetentionPolicy podManagementPolicy serviceName updateStrategy
    volumeClaimTemplates
""")

CHART = _names("""
    cacheserverSpec extraObjects fullnameOverride global grafanaDashboards imagePullSecrets
    kube-prometheus-stack loraAdapters loraController nameOverride prometheus-adapter
    sharedPvcStorage sharedStorage
""")

SERVING_ENGINE_SPEC = _names("""
    annotations containerSecurityContext extraPorts extraVolumeMounts extraVolumes
    imagePullPolicy imagePullSecrets maxUnavailablePodDisruptionBudget pdb podAnnotations
    runtimeClassName schedulerName securityContext serviceAccountName serviceAnnotations
    serviceMonitor servicePort sidecar strategy tolerations
""")

MODEL_SPEC = _names("""
    affinity annotations chatTemplateConfigMap deviceClass extraVolumeMounts extraVolumes
    gpuAllocation gpuCount imagePullPolicy imagePullSecret initContainer labels lifecycle
    limitGPUCores limitGPUMem limitGPUMemPercentage lmcacheConfig modelType nodeName
    nodeSelector nodeSelectorTerms pdb podAnnotations priorityClassName pvcAccessMode
    pvcAnnotations pvcLabels pvcMatchLabels requestGPUCores requestGPUMem
    requestGPUMemPercentage runtimeClassName serviceAccountName servicePort shmSize storageClass
    tolerations tolerationsPolicy
""")

VLLM_CONFIG = _names("""
    pipelineParallelSize v1
""")

ROUTER_SPEC = _names("""
    affinity annotations autoscaling containerPort containerSecurityContext enablePD
    enableRouter engineScrapeInterval env envFromSecret externalProvidersConfig extraArgs
    extraPorts extraVolumeMounts extraVolumes hf_token image imagePullPolicy imagePullSecrets
    ingress k8sServiceDiscoveryType labels livenessProbe lmcacheConfig lmcacheControllerPort
    maxInstanceFailoverRerouteAttempts nixlPeerAllocPort nixlPeerHost nixlPeerInitPort
    nixlProxyHost nixlProxyPort nodePort nodeSelector nodeSelectorTerms otel pdb podAnnotations
    priorityClassName readinessProbe replicaCount repository requestStatsWindow resources
    rootPath route routingLogic runtimeClassName securityContext serviceAccount
    serviceAccountName serviceAnnotations serviceDiscovery serviceMonitor servicePort
    serviceType sessionKey startupProbe staticBackends staticModels strategy tag tolerations
    vllmApiKey
""")
