"""Requests by hand, and the rules that every answer of the resource manager keeps.

`Wire` checks each answer before a test sees it: never a 5xx, always a request id, the error envelope on a 4xx,
`Retry-After` only where pollers may see it, absolute links, and no secret in any body.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from support.secrets import SECRETS
from support.server import Bastide

# The api-versions azure-cli 2.91.0 sends.
GROUPS = "2024-11-01"
SUBSCRIPTIONS = "2022-12-01"
IDENTITIES = "2025-05-31-preview"
WORKSPACES = "2025-12-01"


class Wire:
    """A client of the resource manager that is strict about what it gets."""

    def __init__(self, server: Bastide, token: str | None):
        self.server = server
        self.token = token
        self.session = requests.Session()
        self.session.verify = server.ca_file
        self.session.trust_env = False
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, path: str, version: str | None = GROUPS, **options: Any) -> requests.Response:
        """Sends a request to a path (or an absolute URL) and checks the rules."""
        url = path if path.startswith("https://") else self.server.endpoint + path
        params = dict(options.pop("params", None) or {})
        if version is not None and "api-version=" not in url:
            params["api-version"] = version
        options.setdefault("timeout", 30)
        answer = self.session.request(method, url, params=params, allow_redirects=False, **options)
        check(Answer.of(answer), f"{method} {path}", self.server.endpoint)
        return answer

    def get(self, path: str, version: str | None = GROUPS, **options: Any) -> requests.Response:
        return self.request("GET", path, version, **options)

    def put(self, path: str, body: Any = None, version: str | None = GROUPS, **options: Any) -> requests.Response:
        return self.request("PUT", path, version, json=body, **options)

    def patch(self, path: str, body: Any = None, version: str | None = GROUPS, **options: Any) -> requests.Response:
        return self.request("PATCH", path, version, json=body, **options)

    def post(self, path: str, body: Any = None, version: str | None = GROUPS, **options: Any) -> requests.Response:
        return self.request("POST", path, version, json=body, **options)

    def delete(self, path: str, version: str | None = GROUPS, **options: Any) -> requests.Response:
        return self.request("DELETE", path, version, **options)

    def head(self, path: str, version: str | None = GROUPS, **options: Any) -> requests.Response:
        return self.request("HEAD", path, version, **options)

    def finish(self, accepted: requests.Response, seconds: float = 20) -> requests.Response:
        """Polls the Location of a 202 until it says something else, and returns that."""
        deadline = time.monotonic() + seconds
        while (poll := self.get(accepted.headers["Location"], version=None)).status_code == 202:
            assert time.monotonic() < deadline, "the operation does not end"
            time.sleep(0.05)
        assert poll.status_code in (200, 204), poll.text
        return poll

    def raw(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """Sends a request target byte for byte, as no well-behaved client would spell it."""
        lines = {"Host": urlsplit(self.server.endpoint).netloc, "Connection": "close"}
        if self.token:
            lines["Authorization"] = f"Bearer {self.token}"
        if body or method in ("PUT", "POST", "PATCH"):
            lines["Content-Length"] = str(len(body))
            lines["Content-Type"] = "application/json"
        lines.update(headers or {})
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with connect(self.server) as stream:
            stream.sendall(head.encode("latin-1") + b"\r\n" + body)
            answer = read_answer(stream, method)
        check(answer, f"{method} {target}", self.server.endpoint)
        return answer


@dataclass(frozen=True)
class Answer:
    """Status, headers and body, however they were fetched."""

    method: str
    status_code: int
    headers: Any
    content: bytes

    @classmethod
    def of(cls, answer: requests.Response) -> Answer:
        return cls(answer.request.method, answer.status_code, answer.headers, answer.content)

    def json(self) -> Any:
        return json.loads(self.content)


def check(answer: Answer, what: str, origin: str) -> None:
    """The rules that hold for every answer of the resource manager."""
    status, headers = answer.status_code, answer.headers
    text = answer.content.decode("utf-8", "strict")
    assert status < 500, f"{what}: {status} {text[:500]}"
    leaked = SECRETS.found_in(text)
    assert not leaked, f"{what}: the answer repeats a secret: {leaked}"
    assert headers.get("x-ms-request-id"), f"{what}: no x-ms-request-id"
    assert headers.get("x-ms-correlation-request-id"), f"{what}: no x-ms-correlation-request-id"
    if answer.method != "HEAD" and text:
        assert headers["Content-Type"].startswith("application/json"), f"{what}: {headers['Content-Type']}"
    if status >= 400 and answer.method != "HEAD":
        check_error(json.loads(text), what)
    if 400 <= status < 429 or status > 429:
        assert "Retry-After" not in headers, f"{what}: Retry-After on {status} makes clients repeat the request"
    if status == 202:
        assert headers.get("Retry-After") == "1", f"{what}: 202 needs Retry-After: 1, clients wait 30 s otherwise"
        assert "Location" in headers or "Azure-AsyncOperation" in headers, f"{what}: 202 without a URL to poll"
    if status in (201, 202):
        for name in ("Location", "Azure-AsyncOperation"):
            assert headers.get(name, origin).startswith(origin), f"{what}: {name} is {headers[name]}"
    if status == 204:
        assert not text, f"{what}: 204 with a body"
    if status == 200 and text.startswith("{"):
        link = json.loads(text).get("nextLink")
        assert link is None or link.startswith(origin + "/"), f"{what}: nextLink {link!r} is not absolute"


def check_error(document: Any, what: str) -> None:
    """`{"error":{"code","message","target"?,"details"?,"additionalInfo"?}}` and nothing bare."""
    assert isinstance(document, dict) and list(document) == ["error"], f"{what}: not an ARM error: {document}"
    error = document["error"]
    assert set(error) <= {"code", "message", "target", "details", "additionalInfo"}, f"{what}: {error}"
    assert isinstance(error["code"], str) and error["code"].isalnum(), f"{what}: code {error['code']!r}"
    assert isinstance(error["message"], str) and len(error["message"]) >= 15, f"{what}: message {error['message']!r}"
    for word in ("panicked", "sqlx", "SQLITE", "Err(", "Some("):
        assert word not in error["message"], f"{what}: speaks of its own insides: {error['message']}"


def refused(answer: requests.Response | Answer, status: int, code: str) -> dict:
    """Asserts the exact status and code of a refusal and returns the error object."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), f"{answer.status_code} {error}"
    return error


def connect(server: Bastide, alpn: list[str] | None = None) -> ssl.SSLSocket:
    """A TLS connection to the server, checked against its CA."""
    context = ssl.create_default_context(cafile=server.ca_file)
    if alpn:
        context.set_alpn_protocols(alpn)
    parts = urlsplit(server.endpoint)
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    return context.wrap_socket(plain, server_hostname=parts.hostname)


def read_answer(stream: ssl.SSLSocket, method: str = "GET") -> Answer:
    """Reads one HTTP/1.1 response from a connection."""
    response = http.client.HTTPResponse(stream, method=method)
    response.begin()
    return Answer(method, response.status, response.headers, response.read())
