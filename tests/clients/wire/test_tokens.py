"""What the resource manager does with tokens that it must not believe: 401, a challenge, and never a row changed."""

import json
import time
import uuid

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support import forge, login
from support.wire import Wire, refused


def ask(bastide, token, header=None):
    """Lists the subscriptions with a token; the answer is checked by the rules of the wire."""
    headers = {"Authorization": header} if header is not None else {}
    return Wire(bastide, token).get("/subscriptions", headers=headers)


def test_the_token_itself_is_good(bastide, owner_token):
    assert ask(bastide, owner_token).status_code == 200


def test_without_a_token_the_challenge_says_where_to_get_one(bastide, anonymous):
    answer = anonymous.get("/subscriptions")
    refused(answer, 401, "AuthenticationFailed")
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'authorization_uri="{bastide.endpoint}/' in challenge


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Negotiate abc",
        "{token}",
        "Bearer {token} {token}",
        "Bearer,{token}",
    ],
)
def test_an_authorization_that_is_no_bearer_token_is_refused(bastide, owner_token, header):
    answer = ask(bastide, None, header.format(token=owner_token))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] in ("AuthenticationFailed", "InvalidAuthenticationToken")


def test_the_scheme_is_matched_in_any_case(bastide, owner_token):
    assert ask(bastide, None, f"bearer {owner_token}").status_code == 200


def test_two_authorizations_are_refused(bastide, owner_token):
    raw = Wire(bastide, None).raw(
        "GET", "/subscriptions?api-version=2022-12-01",
        headers={"Authorization": f"Bearer {owner_token}\r\nAuthorization: Bearer other"},
    )  # fmt: skip
    assert raw.status_code in (400, 401), "a proxy may have looked at the other one"


@pytest.mark.parametrize(
    "token",
    ["x", "a.b", "a.b.c", "a.b.c.d", "..", "e30.e30.e30", "null", "a" * 9000],
    ids=["word", "two", "three", "four", "dots", "empty objects", "null", "long"],
)
def test_what_is_no_token_is_refused(bastide, token):
    refused(ask(bastide, token), 401, "InvalidAuthenticationToken")


def test_a_token_of_endless_size_is_refused(bastide, owner_token):
    """16 KiB is the most that is looked at."""
    answer = Wire(bastide, None).raw("GET", "/subscriptions?api-version=2022-12-01",
                                     headers={"Authorization": "Bearer " + "a" * 20_000})  # fmt: skip
    assert answer.status_code in (401, 431)


def claims_of_strangers():
    """Changes that each must be refused for themselves, and are all the more under a strange signature."""
    now = int(time.time())
    return {
        "signed by another key": {},
        "of another issuer": {"iss": "https://login.example.org/v2.0"},
        "without an issuer": {"iss": None},
        "of another tenant": {"tid": str(uuid.uuid4())},
        "without an audience": {"aud": None},
        "for another audience": {"aud": "https://vault.example.org"},
        "for several audiences": {"aud": ["https://vault.example.org", "https://other.example.org"]},
        "without an end": {"exp": None},
        "of another time": {"nbf": now + 3600, "iat": now + 3600, "exp": now + 7200},
        "of nobody": {"oid": None, "sub": None},
    }


@pytest.mark.parametrize("name", claims_of_strangers())
def test_a_forged_token_is_refused(bastide, owner_token, name):
    answer = ask(bastide, forge.resigned(owner_token, **claims_of_strangers()[name]))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] in (
        "InvalidAuthenticationToken", "InvalidAuthenticationTokenTenant", "ExpiredAuthenticationToken",
    )  # fmt: skip


def test_other_claims_under_the_same_signature_are_refused(bastide, owner_token):
    for changes in ({"oid": str(uuid.uuid4())}, {"exp": int(time.time()) + 10**8}, {"tid": str(uuid.uuid4())}):
        refused(ask(bastide, forge.tampered(owner_token, **changes)), 401, "InvalidAuthenticationToken")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_refused(bastide, owner_token, algorithm):
    refused(ask(bastide, forge.unsigned(owner_token, algorithm)), 401, "InvalidAuthenticationToken")


def test_a_public_key_is_no_shared_secret(bastide, owner_token):
    """HS256 with what everybody can download: the classical confusion of algorithms."""
    keys = requests.get(discovery(bastide)["jwks_uri"], verify=bastide.ca_file, timeout=10)
    current = next(key for key in keys.json()["keys"] if key["kid"] == forge.read(owner_token)[0]["kid"])
    for secret in public_key_spellings(current) + [keys.content]:
        refused(ask(bastide, forge.keyed_with_public_key(owner_token, secret)), 401, "InvalidAuthenticationToken")


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "unknown"}, {"kid": "../../../../dev/null"}, {"kid": None}, {"jku": "https://127.0.0.1:1/keys"},
        {"x5u": "https://127.0.0.1:1/cert"}, {"jwk": {"kty": "oct", "k": "AAAA"}}, {"crit": ["exp"]},
        {"typ": "id_token"},
    ],
    ids=lambda header: next(iter(header)),
)  # fmt: skip
def test_a_header_cannot_bring_its_own_key(bastide, owner_token, header):
    refused(ask(bastide, forge.resigned(owner_token, header)), 401, "InvalidAuthenticationToken")


def test_a_token_for_another_resource_is_refused(bastide):
    """Ours, well signed and in date, but for Graph: the resource manager does not take it."""
    token = login.access_token(bastide, scope=f"{bastide.endpoint}/graph/.default")
    refused(ask(bastide, token), 401, "InvalidAuthenticationTokenAudience")


def test_a_refused_token_changes_nothing(bastide, wire, owner_token, unique):
    path = f"{bastide.subscription}/resourceGroups/{unique('stranger')}"
    for token in (None, forge.resigned(owner_token), forge.unsigned(owner_token)):
        assert Wire(bastide, token).put(path, {"location": "westus"}).status_code == 401
        assert Wire(bastide, token).delete(path).status_code == 401
    assert wire.head(path).status_code == 404


def test_a_token_in_the_query_is_no_token(bastide, owner_token, anonymous):
    refused(anonymous.get("/subscriptions", params={"access_token": owner_token}), 401, "AuthenticationFailed")


def test_every_path_but_the_public_ones_asks_who_it_is(bastide, anonymous):
    """Unknown paths too: what is there and what is not is nobody's business without a token."""
    subscription = bastide.subscription
    for path in (
        "/tenants", "/subscriptions", subscription, f"{subscription}/resourceGroups", f"{subscription}/resources",
        f"{subscription}/resourceGroups/any", f"{subscription}/providers", f"{subscription}/tagNames", "/providers",
        f"{subscription}/locations", f"{subscription}/resourceGroups/any/providers/Microsoft.X/y/z",
        f"/subscriptions/{uuid.uuid4()}", f"{subscription}/providers/Microsoft.Resources/tags/default",
    ):  # fmt: skip
        refused(anonymous.get(path), 401, "AuthenticationFailed")


def discovery(bastide):
    path = f"/{bastide.bootstrap.tenant_id}/v2.0/.well-known/openid-configuration"
    return requests.get(bastide.endpoint + path, verify=bastide.ca_file, timeout=10).json()


def public_key_spellings(jwk):
    """The public key as an attacker might feed it to an HMAC: PEM, DER and the JWK itself."""

    def number(name):
        return int.from_bytes(forge.unbase64(jwk[name]), "big")

    if jwk["kty"] == "RSA":
        key = rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
    else:
        key = ec.EllipticCurvePublicNumbers(number("x"), number("y"), ec.SECP256R1()).public_key()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return [
        key.public_bytes(serialization.Encoding.PEM, info),
        key.public_bytes(serialization.Encoding.DER, info),
        json.dumps(jwk).encode(),
    ]
