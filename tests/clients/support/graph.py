"""The directory through its Graph surface, as `az ad` uses it: clients and their credentials."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import requests

from support import login
from support.certificates import Certificate
from support.secrets import SECRETS
from support.server import Bastide


def call(server: Bastide, method: str, path: str, body: Any = None, token: str | None = None) -> requests.Response:
    """A request to Graph as the bootstrap client, or with another token."""
    bearer = token or login.access_token(server, scope=f"{server.endpoint}/graph/.default")
    answer = requests.request(
        method, f"{server.endpoint}/graph/v1.0{path}", json=body,
        headers={"Authorization": f"Bearer {bearer}"}, verify=server.ca_file, timeout=30,
    )  # fmt: skip
    assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
    leaked = SECRETS.found_in(answer.text)
    assert not leaked, f"{method} {path}: the answer repeats a secret: {leaked}"
    return answer


def done(answer: requests.Response) -> Any:
    """The body of an answer that must be a success."""
    assert answer.ok, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:500]}"
    return answer.json() if answer.content else None


def application(server: Bastide, client_id: str) -> dict:
    """The application object behind a client id."""
    (found,) = done(call(server, "GET", f"/applications?$filter=appId eq '{client_id}'"))["value"]
    return found


def create_client(server: Bastide, name: str) -> tuple[str, str]:
    """A new client without any right; returns its id and a secret."""
    made = done(call(server, "POST", "/applications", {"displayName": f"{name}-{uuid.uuid4().hex[:6]}"}))
    done(call(server, "POST", "/servicePrincipals", {"appId": made["appId"]}))
    return made["appId"], add_secret(server, made["appId"])


def add_secret(server: Bastide, client_id: str) -> str:
    path = f"/applications/{application(server, client_id)['id']}/addPassword"
    secret = done(call(server, "POST", path, {"passwordCredential": {"displayName": "tests"}}))["secretText"]
    SECRETS.add(secret)
    return secret


def add_certificate(server: Bastide, client_id: str, certificate: Certificate) -> None:
    """Adds a certificate to a client beside the ones it has."""
    found = application(server, client_id)
    key = {
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "displayName": "tests",
        "key": base64.b64encode(certificate.der).decode(),
    }
    keys = [*found.get("keyCredentials", []), key]
    done(call(server, "PATCH", f"/applications/{found['id']}", {"keyCredentials": keys}))


def add_federated_credential(server: Bastide, client_id: str, issuer: str, subject: str, audience: str) -> None:
    """Lets tokens of an outside issuer stand for a client's secret."""
    body = {"name": f"tests-{uuid.uuid4().hex[:6]}", "issuer": issuer, "subject": subject, "audiences": [audience]}
    path = f"/applications/{application(server, client_id)['id']}/federatedIdentityCredentials"
    done(call(server, "POST", path, body))


def delete_client(server: Bastide, client_id: str) -> None:
    done(call(server, "DELETE", f"/applications/{application(server, client_id)['id']}"))
