"""OpenID discovery and keys: both route families, each consistent in itself."""

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from support import forge, login


def fetch(bastide, path):
    answer = requests.get(bastide.endpoint + path, verify=bastide.ca_file, timeout=10)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:200]}"
    return answer.json()


@pytest.fixture(params=["adfs", "tenant", "organizations", "common"])
def document(request, bastide):
    authority = bastide.bootstrap.tenant_id if request.param == "tenant" else request.param
    version = "" if request.param == "adfs" else "/v2.0"
    return fetch(bastide, f"/{authority}{version}/.well-known/openid-configuration")


def test_the_document_has_what_msal_reads(bastide, document):
    for field in ("issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri"):
        assert document[field].startswith(bastide.endpoint + "/"), field
    # msal reads the tenant from the first path segment of the token endpoint.
    assert document["token_endpoint"].removeprefix(bastide.endpoint).count("/") >= 2


def test_the_document_promises_only_what_is_kept(document):
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert "none" not in document.get("id_token_signing_alg_values_supported", [])
    assert "form_post" in document["response_modes_supported"]
    assert "code" in document["response_types_supported"]


@pytest.mark.parametrize("flavour", ["adfs", "tenant"])
def test_there_is_one_issuer_of_access_tokens(bastide, flavour):
    """Whichever route family bought the token, resource servers see the same `iss`: that of the tenant's document."""
    tenant = fetch(bastide, f"/{bastide.bootstrap.tenant_id}/v2.0/.well-known/openid-configuration")
    token = login.client_credentials(bastide, flavour).json()["access_token"]
    assert forge.read(token)[1]["iss"] == tenant["issuer"]


def test_a_document_names_the_authority_it_was_asked_of(bastide, document):
    """OpenID Connect Discovery 4.3; azure-identity compares it with the authority it was given."""
    issuer = document["issuer"].removeprefix(bastide.endpoint)
    assert issuer in ("/adfs", f"/{bastide.bootstrap.tenant_id}/v2.0")


def test_the_keys_are_public_current_and_next(bastide, document):
    keys = requests.get(document["jwks_uri"], verify=bastide.ca_file, timeout=10).json()["keys"]
    assert len(keys) == 2
    assert len({key["kid"] for key in keys}) == 2
    for key in keys:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key), "a private part in the public keys"
        assert key["use"] == "sig"
        assert key["alg"] in ("RS256", "ES256")
    assert len({key["kty"] for key in keys}) == 1, "one family of algorithms"


def test_the_current_key_verifies_a_token(bastide, document):
    token = login.access_token(bastide)
    head, _ = forge.read(token)
    keys = requests.get(document["jwks_uri"], verify=bastide.ca_file, timeout=10).json()["keys"]
    key = next(key for key in keys if key["kid"] == head["kid"])
    message, signature = token.rsplit(".", 1)
    signature = forge.unbase64(signature)
    if key["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
        public.verify(signature, message.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP256R1()).public_key()
        halves = (int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        public.verify(encode_dss_signature(*halves), message.encode(), ec.ECDSA(hashes.SHA256()))


def test_another_tenant_has_no_document(bastide):
    path = "/6f2c9e51-0000-4000-8000-000000000000/v2.0/.well-known/openid-configuration"
    answer = requests.get(bastide.endpoint + path, verify=bastide.ca_file, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_tenant", "invalid_request")


def number(text: str) -> int:
    return int.from_bytes(forge.unbase64(text), "big")
