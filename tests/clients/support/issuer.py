"""An outside OIDC issuer on loopback, such as a CI system or a cluster would be: discovery, keys, tokens."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from support.certificates import server_certificate
from support.forge import base64url
from support.secrets import SECRETS

# What Azure and everybody who follows it expect in tokens that stand for a secret.
AUDIENCE = "api://AzureADTokenExchange"


class Issuer:
    """Serves its documents until closed. `ca_file` is what a server must trust to read them."""

    def __init__(self, folder: Path):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.requests: list[str] = []
        pem, ca = server_certificate("localhost")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "issuer.pem").write_text(pem)
        self.ca_file = folder / "issuer-ca.pem"
        self.ca_file.write_text(ca)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "issuer.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_address[1]}/ci"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()

    def token(self, subject: str, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> str:
        """A token of this issuer; `changes` replace or (as None) remove claims."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600,
                  "jti": str(uuid.uuid4()), **changes}  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        head = {"alg": "RS256", "typ": "JWT", "kid": "ci-1"}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
        signature = (key or self.key).sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        token = f"{text}.{base64url(signature)}"
        SECRETS.add_jwt(token)
        return token

    def _documents(self) -> dict[str, dict]:
        numbers = self.key.public_key().public_numbers()
        jwk = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": "ci-1",
            "n": number(numbers.n),
            "e": number(numbers.e),
        }
        return {
            "/ci/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/ci/keys": {"keys": [jwk]},
        }

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                document = issuer._documents().get(self.path)
                body = json.dumps(document).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


def number(value: int) -> str:
    """An integer as a JWK writes it."""
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
