"""Tokens that must not work: every way to get one wrong without Bastide's key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_EC = ec.generate_private_key(ec.SECP256R1())


def read(token: str) -> tuple[dict, dict]:
    """Header and claims of a token, unverified."""
    header, claims, _ = token.split(".")
    return json.loads(unbase64(header)), json.loads(unbase64(claims))


def resigned(token: str, header: dict | None = None, **claims: Any) -> str:
    """The token with some claims changed (None removes one), signed with a key of ours under the real key id."""
    head, body = read(token)
    head.update(header or {})
    body.update(claims)
    body = {name: value for name, value in body.items() if value is not None}
    signed = f"{base64url(json.dumps(head).encode())}.{base64url(json.dumps(body).encode())}"
    return f"{signed}.{base64url(_sign(head['alg'], signed.encode()))}"


def tampered(token: str, **claims: Any) -> str:
    """The token with other claims under the signature it had."""
    head, body = read(token)
    body.update(claims)
    return ".".join([token.split(".")[0], base64url(json.dumps(body).encode()), token.split(".")[2]])


def unsigned(token: str, algorithm: str = "none") -> str:
    head, _ = read(token)
    return ".".join([base64url(json.dumps({**head, "alg": algorithm}).encode()), token.split(".")[1], ""])


def keyed_with_public_key(token: str, public_key: bytes) -> str:
    """HS256 with the public key as the shared secret: the classical confusion of algorithms."""
    head, _ = read(token)
    signed = f"{base64url(json.dumps({**head, 'alg': 'HS256'}).encode())}.{token.split('.')[1]}"
    return f"{signed}.{base64url(hmac.new(public_key, signed.encode(), hashlib.sha256).digest())}"


def _sign(algorithm: str, message: bytes) -> bytes:
    if algorithm == "RS256":
        return _RSA.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if algorithm == "ES256":
        r, s = decode_dss_signature(_EC.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    raise AssertionError(f"no key for {algorithm}")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
