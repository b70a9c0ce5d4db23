"""TriggerAuthentication: what is refused, and what parameters become."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import InputError
from stoker.resources.authentication import (
    Authentication,
    read_authentication,
    refuse_elsewhere,
    resolve,
)
from stoker.resources.composing import Composer
from stoker.resources.document import Document, Manifest, Origin

SECRET = "{parameter: username, name: s, key: k}"


def manifest(text: str, file: str = "ta.yaml") -> Manifest:
    root = Composer(file, 0).compose(text)
    assert root is not None
    document = Document(file, root)
    return Manifest(document.value, Origin(document))


def read(spec: str, kind: str = "TriggerAuthentication", file: str = "ta.yaml") -> Authentication:
    head = f"apiVersion: keda.sh/v1alpha1\nkind: {kind}\nmetadata: {{name: ta}}\nspec:\n"
    found, errors = read_authentication(manifest(head + spec, file), "default")
    assert not errors, errors
    assert found is not None
    return found


def test_parameters_come_from_secrets_configmaps_and_variables_and_a_secret_wins() -> None:
    found = read(
        "  secretTargetRef: [{parameter: password, name: s, key: p}]\n"
        "  configMapTargetRef: [{parameter: username, name: c, key: u},"
        " {parameter: password, name: c, key: u}]\n"
        "  env: [{parameter: token, name: T}, {parameter: ca, name: CA, containerName: side}]\n"
    )
    sources = {("Secret", "s"): {"p": "hunter2"}, ("ConfigMap", "c"): {"u": "me"}}
    variables = {None: {"T": "abc"}, "side": {"CA": "pem"}}

    values, missing = resolve(found, sources, lambda name: variables[name])

    assert values == {"password": "hunter2", "username": "me", "token": "abc", "ca": "pem"}
    assert missing == ()


def test_what_is_not_there_is_absent_and_told() -> None:
    found = read(f"  secretTargetRef: [{SECRET}]\n  env: [{{parameter: p, name: NAME}}]\n")

    values, missing = resolve(found, {("Secret", "s"): {"other": "x"}}, lambda _: {})

    assert values == {"username": "", "p": ""}
    assert missing == (
        "TriggerAuthentication ta: no variable NAME, for `p`",
        "TriggerAuthentication ta: no Secret s with `k`, for `username`",
    )


def test_a_file_takes_the_place_of_everything_and_is_read_anew(tmp_path: Path) -> None:
    where = str(tmp_path / "ta.yaml")
    (tmp_path / "keys").mkdir()
    keys = tmp_path / "keys" / "one.json"
    keys.write_text('{"password": "old"}')
    found = read(
        f"  filePath: /keys/one.json\n  secretTargetRef: [{SECRET}]\n",
        "ClusterTriggerAuthentication",
        where,
    )

    assert resolve(found, {}, lambda _: {})[0] == {"password": "old"}
    keys.write_text('{"password": "new"}')
    assert resolve(found, {}, lambda _: {})[0] == {"password": "new"}


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("../out.json", None, "leads out of"),
        ("none.json", None, "cannot be read: no such file or directory"),
        ("bad.json", "{", "is not JSON"),
        ("list.json", "[1]", "is no object of texts"),
        ("number.json", '{"a": 1}', "is no object of texts"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_place(
    tmp_path: Path, path: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / path).write_text(content)
    found = read(f"  filePath: {path}\n", file=str(tmp_path / "ta.yaml"))

    with pytest.raises(InputError, match=words) as caught:
        resolve(found, {}, lambda _: {})
    assert caught.value.place is not None
    assert caught.value.place.line == 5


def test_oauth2_becomes_the_parameters_that_scalers_read() -> None:
    found = read(
        "  oauth2:\n    type: clientCredentials\n    clientId: id\n    tokenUrl: http://t\n"
        "    scopes: [a, b]\n    tokenUrlParams: {audience: x y}\n"
        "    clientSecret: {valueFrom: {secretKeyRef: {name: s, key: k}}}\n"
    )

    values, _ = resolve(found, {("Secret", "s"): {"k": "hunter2"}}, lambda _: {})

    assert values == {
        "oauthTokenURI": "http://t",
        "clientID": "id",
        "clientSecret": "hunter2",
        "scopes": "a,b",
        "endpointParams": "audience=x+y",
    }


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("  podIdentity: {provider: aws}\n", "podIdentity"),
        ("  boundServiceAccountToken: [{parameter: t, serviceAccountName: s}]\n", "boundService"),
        (
            "  hashiCorpVault: {address: http://v, authentication: token, secrets: [{}]}\n",
            "hashiCorpVault",
        ),
        ("  azureKeyVault: {vaultUri: x, secrets: [{}]}\n", "azureKeyVault"),
        ("  awsSecretManager: {secrets: [{}]}\n", "awsSecretManager"),
        ("  gcpSecretManager: {secrets: [{}]}\n", "gcpSecretManager"),
    ],
)
def test_what_one_machine_cannot_have_is_told_with_a_way_out(spec: str, key: str) -> None:
    with pytest.raises(InputError, match=key) as caught:
        refuse_elsewhere(read(spec))

    assert "is not on one machine" in caught.value.message
    assert caught.value.hint is not None
    assert "secretTargetRef" in caught.value.hint


def test_no_identity_is_an_identity_that_every_machine_has() -> None:
    refuse_elsewhere(read("  podIdentity: {provider: none}\n"))


def test_the_repr_of_what_was_read_has_no_secret() -> None:
    found = read(f"  secretTargetRef: [{SECRET}]\n")

    assert "hunter2" not in repr(found)


def test_refusals_are_those_of_the_api_server(shared_data: Path) -> None:
    differ, seen = [], 0
    with gzip.open(shared_data / "kubernetes" / "validation.jsonl.gz", "rt") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for row in rows:
        if not row["kind"].endswith("TriggerAuthentication"):
            continue
        seen += 1
        text = row.get("manifest_yaml") or json.dumps(row["manifest"])
        _, errors = read_authentication(manifest(text), "default")
        if bool(errors) != (row["strict"]["code"] != 201):
            differ.append((row["id"], row["what"], row["strict"]["code"], errors))

    assert seen > 50
    assert differ == []
