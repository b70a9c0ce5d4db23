"""What KEDA's webhook says of a TriggerAuthentication or ClusterTriggerAuthentication."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def authentication_refusal(spec: Mapping[str, Any]) -> str | None:
    """Why the webhook refuses the ``spec`` of a (Cluster)TriggerAuthentication."""
    identity = spec.get("podIdentity")
    if identity is not None:
        provider = identity.get("provider")
        if provider == "azure-workload":
            refusal = _azure_refusal(identity)
        elif provider == "aws":
            refusal = _aws_refusal(identity)
        else:
            return None  # then nothing else is looked at either
        if refusal is not None:
            return refusal
    oauth = spec.get("oauth2")
    return None if oauth is None else _oauth_refusal(oauth)


def _azure_refusal(identity: Mapping[str, Any]) -> str | None:
    if identity.get("identityId") == "":
        return (
            "identityId of PodIdentity should not be empty. If it's set, identityId has to be "
            'different than ""'
        )
    if identity.get("identityAuthorityHost"):
        if not identity.get("identityTenantId"):
            return (
                "identityTenantID of PodIdentity should not be nil or empty when "
                "identityAuthorityHost of PodIdentity is set"
            )
    elif identity.get("identityTenantId") == "":
        return (
            "identityTenantId of PodIdentity should not be empty. If it's set, identityTenantId "
            'has to be different than ""'
        )
    return None


def _aws_refusal(identity: Mapping[str, Any]) -> str | None:
    if identity.get("roleArn") and identity.get("identityOwner") == "workload":
        return "roleArn of PodIdentity can't be set if KEDA isn't identityOwner"
    if identity.get("externalID") and not identity.get("roleArn"):
        return "externalID of PodIdentity requires roleArn to be set"
    return None


def _oauth_refusal(oauth: Mapping[str, Any]) -> str | None:
    if oauth.get("type") != "clientCredentials":
        return f"oauth2.type must be 'clientCredentials', got '{oauth.get('type', '')}'"
    for key, written in (("clientId", "clientId"), ("tokenUrl", "tokenUrl")):
        if not oauth.get(key):
            return f"oauth2.{written} is required when oauth2 is configured"
    scheme, sign, rest = str(oauth["tokenUrl"]).partition("://")
    if scheme.lower() not in {"http", "https"} or not sign or not rest.split("/", 1)[0]:
        return "oauth2.tokenUrl must be a valid http or https URL"
    return None
