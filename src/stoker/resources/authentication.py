"""``keda.sh/v1alpha1`` TriggerAuthentication and ClusterTriggerAuthentication.

What the API server of a cluster with KEDA 2.20 refuses is refused when a file is read. Where a
secret comes from that one machine cannot have, is told when a trigger refers to it: until then the
object does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from pydantic import Field

from stoker.errors import InputError
from stoker.resources.document import Manifest
from stoker.resources.environment import Sources
from stoker.resources.metadata import ObjectMeta
from stoker.resources.validation import Model, validate

AUTHENTICATIONS: Final = ("TriggerAuthentication", "ClusterTriggerAuthentication")
Secrets = Annotated[list[Any], Field(min_length=1)]


class PodIdentity(Model):
    """``podIdentity``."""

    provider: Literal["azure-workload", "gcp", "aws", "aws-eks", "none"]
    identity_id: str | None = None
    identity_tenant_id: str | None = None
    identity_authority_host: str | None = None
    role_arn: str | None = None
    external_id: Annotated[str | None, Field(alias="externalID")] = None
    identity_owner: Literal["keda", "workload"] | None = None


class KeyRef(Model):
    """One item of ``secretTargetRef`` or ``configMapTargetRef``."""

    parameter: str
    name: str
    key: str


class EnvRef(Model):
    """One item of ``env``."""

    parameter: str
    name: str
    container_name: str | None = None


class TokenRef(Model):
    """One item of ``boundServiceAccountToken``."""

    parameter: str
    service_account_name: str


class SecretKey(Model):
    """``secretKeyRef``."""

    name: str
    key: str


class ValueFrom(Model):
    """``valueFrom``."""

    secret_key_ref: SecretKey


class FromSecret(Model):
    """A credential that stands in a Secret."""

    value_from: ValueFrom


class AwsCredentials(Model):
    """``credentials`` of AWS."""

    access_key: FromSecret
    access_secret_key: FromSecret
    access_token: FromSecret | None = None


class AzureCredentials(Model):
    """``credentials`` of Azure."""

    client_id: str
    tenant_id: str
    client_secret: FromSecret


class GcpCredentials(Model):
    """``credentials`` of Google's cloud."""

    client_secret: FromSecret


class AzureCloud(Model):
    """``cloud``."""

    type: str
    key_vault_resource_url: Annotated[str | None, Field(alias="keyVaultResourceURL")] = None
    active_directory_endpoint: str | None = None


class HashiCorpVault(Model):
    """``hashiCorpVault``."""

    address: str
    authentication: Literal["token", "kubernetes"]
    secrets: Secrets
    credential: Any = None
    mount: str | None = None
    namespace: str | None = None
    role: str | None = None


class AzureKeyVault(Model):
    """``azureKeyVault``."""

    vault_uri: str
    secrets: Secrets
    credentials: AzureCredentials | None = None
    cloud: AzureCloud | None = None
    pod_identity: PodIdentity | None = None


class AwsSecretManager(Model):
    """``awsSecretManager``."""

    secrets: Secrets
    credentials: AwsCredentials | None = None
    pod_identity: PodIdentity | None = None
    region: str | None = None


class GcpSecretManager(Model):
    """``gcpSecretManager``."""

    secrets: Secrets
    credentials: GcpCredentials | None = None
    pod_identity: PodIdentity | None = None


class OAuth2(Model):
    """``oauth2``."""

    type: Literal["clientCredentials"]
    client_id: str
    token_url: str
    client_secret: FromSecret | None = None
    scopes: list[str] | None = None
    token_url_params: dict[str, str] | None = None


class AuthenticationSpec(Model):
    """``spec``."""

    secret_target_ref: list[KeyRef] | None = None
    config_map_target_ref: list[KeyRef] | None = None
    env: list[EnvRef] | None = None
    file_path: str | None = None
    oauth2: OAuth2 | None = None
    pod_identity: PodIdentity | None = None
    bound_service_account_token: list[TokenRef] | None = None
    hashi_corp_vault: HashiCorpVault | None = None
    azure_key_vault: AzureKeyVault | None = None
    aws_secret_manager: AwsSecretManager | None = None
    gcp_secret_manager: GcpSecretManager | None = None


class AuthenticationResource(Model):
    """The whole resource."""

    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"]
    metadata: ObjectMeta
    spec: AuthenticationSpec
    status: Any = None


@dataclass(frozen=True, slots=True)
class Authentication:
    """One that could be read. It has references to secrets, and none of them itself."""

    spec: AuthenticationSpec
    manifest: Manifest
    namespace: str  # "" of a ClusterTriggerAuthentication

    @property
    def kind(self) -> str:
        """One of the two kinds."""
        return self.manifest.kind

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return self.manifest.name

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def read_authentication(
    manifest: Manifest, namespace: str
) -> tuple[Authentication | None, tuple[InputError, ...]]:
    """The object, or everything that a cluster would refuse in it.

    Args:
        manifest: the object.
        namespace: of an object that names none.
    """
    resource, errors = validate(AuthenticationResource, manifest.content, manifest.origin)
    if resource is None:
        return None, errors
    space = resource.metadata.namespace or namespace
    if manifest.kind == "ClusterTriggerAuthentication":
        space = ""
    return Authentication(resource.spec, manifest, space), ()


# -- what it resolves to -------------------------------------------------------------------------

EnvFunction = Callable[[str | None], Mapping[str, str]]
"""The variables of a container of the scale target; None: the one that KEDA takes."""

_ELSEWHERE: Final = (
    ("pod_identity", "podIdentity", "an identity that a cloud gives to pods"),
    ("bound_service_account_token", "boundServiceAccountToken", "a token that a cluster signs"),
    ("hashi_corp_vault", "hashiCorpVault", "a Vault that trusts a cluster"),
    ("azure_key_vault", "azureKeyVault", "Azure's vault"),
    ("aws_secret_manager", "awsSecretManager", "AWS' secret manager"),
    ("gcp_secret_manager", "gcpSecretManager", "Google's secret manager"),
)


def refuse_elsewhere(found: Authentication) -> None:
    """Refuse what one machine cannot have.

    Raises:
        InputError: with its place, and what to write instead.
    """
    for attribute, key, what in _ELSEWHERE:
        value = getattr(found.spec, attribute)
        if not value or (isinstance(value, PodIdentity) and value.provider == "none"):
            continue
        raise InputError(
            f"`spec.{key}` of {found} is not on one machine: it is {what}",
            hint="for runs here give the same parameters by secretTargetRef with a Secret "
            "document, by env, or by filePath",
            place=found.manifest.place("spec", key, key=True),
        )


def resolve(
    found: Authentication, sources: Sources, env_of: EnvFunction
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The parameters, and a sentence for each that could not be found, which then is absent.

    A Secret wins over a ConfigMap and this over a variable, as in KEDA. With ``filePath`` nothing
    else counts. Files are read anew each time.

    Raises:
        InputError: the file of ``filePath`` cannot be read.
    """
    spec = found.spec
    if spec.file_path:
        return _from_file(found, spec.file_path), ()
    values: dict[str, str] = {}
    missing: list[str] = []
    for variable in spec.env or ():
        text = env_of(variable.container_name).get(variable.name)
        if text is None:
            missing.append(f"variable {variable.name}, for `{variable.parameter}`")
        values[variable.parameter] = text or ""
    for kind, references in (
        ("ConfigMap", spec.config_map_target_ref),
        ("Secret", spec.secret_target_ref),
    ):
        for one in references or ():
            text = sources.get((kind, one.name), {}).get(one.key)
            if text is None:
                missing.append(f"{kind} {one.name} with `{one.key}`, for `{one.parameter}`")
            values[one.parameter] = text or ""
    if spec.oauth2 is not None:
        values.update(_oauth(spec.oauth2, sources, missing))
    return values, tuple(f"{found}: no {one}" for one in missing)


def _oauth(block: OAuth2, sources: Sources, missing: list[str]) -> dict[str, str]:
    values = {"oauthTokenURI": block.token_url, "clientID": block.client_id}
    if block.client_secret is not None:
        ref = block.client_secret.value_from.secret_key_ref
        text = sources.get(("Secret", ref.name), {}).get(ref.key)
        if text is None:
            missing.append(f"Secret {ref.name} with `{ref.key}`, for `clientSecret`")
        values["clientSecret"] = text or ""
    if block.scopes:
        values["scopes"] = ",".join(block.scopes)
    if block.token_url_params:
        values["endpointParams"] = urlencode(block.token_url_params)
    return values


def _from_file(found: Authentication, written: str) -> dict[str, str]:
    """The JSON object of a file below the folder of the document; KEDA has a root for them."""
    place = found.manifest.place("spec", "filePath")
    root = FilePath(place.file).resolve().parent
    path = (root / written.lstrip("/")).resolve()
    if not path.is_relative_to(root):
        raise InputError(
            f"`spec.filePath` of {found} leads out of {root}",
            hint="KEDA reads below --filepath-auth-root-path only; here that is the folder of "
            "the YAML file",
            place=place,
        )
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path} cannot be read: {reason}", place=place) from None
    except ValueError:
        raise InputError(f"{path} is not JSON", hint=_JSON_HINT, place=place) from None
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise InputError(f"{path} is no object of texts", hint=_JSON_HINT, place=place)
    return content


_JSON_HINT = 'KEDA reads a JSON object of texts, {"username": "...", "password": "..."}'
