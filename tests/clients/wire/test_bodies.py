"""Request bodies: strict JSON, bounded in size, depth and time; a refusal leaves nothing behind."""

import http.client
import json
import socket
import ssl
import time

import pytest
from support.login import access_token
from support.wire import IDENTITIES, WORKSPACES, connect, read_answer, refused

HEADERS = {"Content-Type": "application/json"}


@pytest.fixture
def path(wire, bastide, unique):
    """A resource group that is not there and must not be there afterwards."""
    path = f"{bastide.subscription}/resourceGroups/{unique('body')}"
    yield path
    assert wire.head(path).status_code == 404, "a refused request left a row behind"


def send(wire, path, body: bytes, **headers):
    return wire.request("PUT", path, data=body, headers={**HEADERS, **headers})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"}", b"{'location': 'westus'}", b'{"location": "westus"', b'{"location": "westus",}', b"nonsense",
        b'{"location": "westus"} {}', b'{"location": "westus"}x', b'{"location": "a\nb"}', b'{"location": "\\x"}',
        b'{"location": "\\ud800"}', b'{"location": NaN}', b'{"location": "westus", "n": 01}',
        b'{"location": "westus", "n": 1e400}', b'{/* comment */"location": "westus"}', b"\x00\x01\x02", b"PK\x03\x04",
    ],
)  # fmt: skip
def test_broken_json_is_refused(wire, path, body):
    refused(send(wire, path, body), 400, "InvalidRequestContent")


def test_the_place_of_a_syntax_error_is_named(wire, path):
    error = refused(send(wire, path, b'{\n  "location": westus\n}'), 400, "InvalidRequestContent")
    assert "line 2" in error["message"].lower()


@pytest.mark.parametrize("body", [b"[]", b'"westus"', b"1", b"true", b"null", b'[{"location": "westus"}]'])
def test_a_body_that_is_no_object_is_refused(wire, path, body):
    refused(send(wire, path, body), 400, "InvalidRequestContent")


@pytest.mark.parametrize(
    "body",
    [
        b'{"location": "westus", "location": "eastus"}',
        b'{"location": "westus", "tags": {"a": "1", "a": "2"}}',
        b'{"location": "westus", "properties": {"deep": [{"x": 1, "x": 2}]}}',
        b'{"location": "westus", "loc\\u0061tion": "eastus"}',
    ],
)
def test_duplicate_keys_are_refused_because_two_readers_would_see_different_values(wire, path, body):
    error = refused(send(wire, path, body), 400, "InvalidRequestContent")
    assert "twice" in error["message"] or "duplicate" in error["message"].lower()


@pytest.mark.parametrize(
    "body", [b'{"location": "\xff"}', b'{"location": "\xc0\xaf"}', b'{"\xed\xa0\x80": 1}', "{}".encode("utf-16")]
)
def test_bytes_that_are_not_utf8_are_refused(wire, path, body):
    refused(send(wire, path, body), 400, "InvalidRequestContent")


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"location": 1}, "location"),
        ({"location": {"name": "westus"}}, "location"),
        ({"location": "westus", "tags": []}, "tags"),
        ({"location": "westus", "tags": "a=1"}, "tags"),
        ({"location": "westus", "tags": {"a": 1}}, "tags"),
        ({"location": "westus", "tags": {"a": {"b": "c"}}}, "tags"),
        ({"location": "westus", "properties": []}, "properties"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(wire, path, body, target):
    error = refused(wire.put(path, body), 400, "InvalidRequestContent")
    assert error["target"].startswith(target)


def test_a_location_is_required(wire, path):
    refused(wire.put(path, {}), 400, "LocationRequired")
    refused(wire.put(path, {"tags": {"a": "b"}}), 400, "LocationRequired")


@pytest.mark.parametrize(
    "tags",
    [
        {f"tag{number}": "x" for number in range(51)},
        {"k" * 513: "x"},
        {"key": "v" * 257},
        {"": "x"},
    ],
    ids=["51 tags", "long name", "long value", "empty name"],
)
def test_tags_have_limits(wire, path, tags):
    answer = wire.put(path, {"location": "westus", "tags": tags})
    assert answer.status_code == 400
    assert answer.json()["error"]["target"].startswith("tags")


def test_nesting_has_a_limit(wire, path):
    for depth in (200, 5000):
        body = b'{"location": "westus", "properties": {"x": ' + b"[" * depth + b"]" * depth + b"}}"
        refused(send(wire, path, body), 400, "InvalidRequestContent")
        body = b'{"a":' * depth + b"1" + b"}" * depth
        refused(send(wire, path, body), 400, "InvalidRequestContent")


def test_a_body_of_ten_megabytes_is_refused_at_once(wire, path):
    body = json.dumps({"location": "westus", "tags": {"a": "x" * 10_000_000}}).encode()
    began = time.monotonic()
    refused(send(wire, path, body), 413, "RequestContentTooLarge")
    assert time.monotonic() - began < 5


def test_a_body_of_ten_megabytes_without_a_length_is_refused_too(wire, path):
    def parts():
        yield b'{"location": "westus", "properties": {"x": "'
        for _ in range(160):
            yield b"x" * 65_536
        yield b'"}}'

    try:
        answer = wire.request("PUT", path, data=parts(), headers=HEADERS)
    except OSError:
        return  # the server answered and hung up before we had sent it all, which requests reports as a broken pipe
    refused(answer, 413, "RequestContentTooLarge")


@pytest.mark.parametrize(
    ("method", "below", "token", "status"),
    [
        ("PUT", "", "no.such.token", 401),
        ("PUT", "/providers/Contoso.Nothing/things/one", None, 404),
        ("POST", "", None, 405),
        ("PUT", "/providers/Microsoft.KeyVault/vaults/x/nothing/y", None, 404),
    ],
)
def test_a_refusal_reaches_who_is_still_sending(wire, path, method, below, token, status):
    """A template is large, and a token runs out: the answer is why, and no broken connection."""
    body = b'{"location": "westus", "x": "' + b"x" * 1_000_000 + b'"}'
    headers = {**HEADERS, **({"Authorization": f"Bearer {token}"} if token else {})}
    for _ in range(5):
        assert wire.request(method, path + below, data=body, headers=headers).status_code == status


def test_a_declared_length_that_is_too_large_is_refused_before_the_body_is_sent(wire, bastide, path):
    with connect(bastide) as stream:
        stream.sendall(head(wire, "PUT", path, {"Content-Length": str(10**12)}))
        answer = read_answer(stream)
    refused(answer, 413, "RequestContentTooLarge")


@pytest.mark.parametrize("length", ["-1", "1, 2", "abc", "+5", "0x10", "18446744073709551616"])
def test_a_length_that_is_none_is_refused(wire, bastide, path, length):
    with connect(bastide) as stream:
        stream.sendall(head(wire, "PUT", path, {"Content-Length": length}) + b'{"location": "westus"}')
        assert read_answer(stream).status_code == 400


def test_two_lengths_are_refused(wire, bastide, path):
    """A front proxy could read one and we the other: request smuggling."""
    for extra in (
        b"Content-Length: 5\r\nContent-Length: 22\r\n",
        b"Content-Length: 22\r\nTransfer-Encoding: chunked\r\n",
    ):
        with connect(bastide) as stream:
            stream.sendall(head(wire, "PUT", path, {})[:-2] + extra + b'\r\n{"location": "westus"}')
            try:
                answer = read_answer(stream)
            except (ssl.SSLError, OSError):
                continue
        assert answer.status_code == 400


def test_half_a_body_is_not_half_a_write(wire, bastide, path):
    body = b'{"location": "westus"}'
    with connect(bastide) as stream:
        stream.sendall(head(wire, "PUT", path, {"Content-Length": str(len(body) + 40)}) + body)
        stream.shutdown(socket.SHUT_WR)
        try:
            status = read_answer(stream).status_code
        except (OSError, http.client.HTTPException):
            return  # the server hung up, as the client did
    assert status in (400, 408)


@pytest.mark.slow
def test_a_body_that_drips_is_given_up_on(wire, bastide, path):
    """A byte a second for ever would hold a connection and a task for ever."""
    began = time.monotonic()
    with connect(bastide) as stream:
        stream.settimeout(1)
        stream.sendall(head(wire, "PUT", path, {"Content-Length": "1000000"}) + b'{"location": "')
        answer = None
        while time.monotonic() - began < 90:
            try:
                stream.sendall(b"x")
                answer = read_answer(stream)
                break
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except OSError:
                break
    assert time.monotonic() - began < 85, "the server waits for ever"
    if answer is not None:
        refused(answer, 408, "RequestTimeout")


@pytest.mark.slow
@pytest.mark.parametrize("door", ["/adfs/oauth2/v2.0/token", "/graph/v1.0/groups"])
def test_a_body_that_never_comes_is_given_up_on_at_the_other_doors(wire, bastide, door):
    """Nobody has to show a token to send a form, so this would cost every connection there is."""
    headers = {"Content-Length": "5000"}
    if door.startswith("/adfs"):
        headers |= {"Content-Type": "application/x-www-form-urlencoded"}
    else:
        headers |= {"Authorization": f"Bearer {access_token(bastide, scope=f'{bastide.endpoint}/graph/.default')}"}
    with connect(bastide) as stream:
        stream.settimeout(60)
        stream.sendall(head(wire, "POST", door, headers))
        assert read_answer(stream).status_code == 408


@pytest.mark.slow
def test_headers_that_drip_are_given_up_on_and_others_are_served_meanwhile(wire, bastide):
    began = time.monotonic()
    streams = [connect(bastide) for _ in range(50)]
    try:
        for stream in streams:
            stream.sendall(b"GET /subscriptions?api-version=2022-12-01 HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert wire.get("/subscriptions").status_code == 200
        assert time.monotonic() - began < 5, "slow clients hold up the others"
        for stream in streams:
            stream.settimeout(90)
        assert wait_closed(streams[0]), "a connection that never ends its headers stays open"
    finally:
        for stream in streams:
            stream.close()


def test_another_media_type_is_refused(wire, path):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data"):
        refused(send(wire, path, b'{"location": "westus"}', **{"Content-Type": kind}), 415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "text/json"]
)
def test_json_is_taken_under_its_names(wire, bastide, unique, kind):
    path = f"{bastide.subscription}/resourceGroups/{unique('json')}"
    answer = send(wire, path, b'\xef\xbb\xbf{"location": "westus"}', **{"Content-Type": kind})
    assert answer.status_code == 201, "a byte order mark at the start is no harm"
    wire.delete(path)


def test_a_body_on_get_and_delete_does_no_harm(wire, group):
    assert wire.request("GET", group, data=b"{}", headers=HEADERS).status_code == 200
    assert wire.request("DELETE", group, data=b"{}", headers=HEADERS).status_code in (200, 202)


def test_unknown_fields_are_ignored(wire, group):
    """az and the SDKs send fields of newer versions; a server that refuses them breaks with every release."""
    body = {"location": "westus", "somethingNew": {"a": [1]}, "properties": {"isolationScope": "None"}}
    path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/new"
    assert wire.put(path, body, IDENTITIES).status_code == 201


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"kind": 1}, "kind"),
        ({"sku": "Basic"}, "sku"),
        ({"identity": "SystemAssigned"}, "identity"),
        ({"identity": {"type": "Nobody"}}, "identity"),
        ({"identity": {"type": "UserAssigned", "userAssignedIdentities": ["x"]}}, "identity"),
        ({"properties": "x"}, "properties"),
    ],
)
def test_the_envelope_of_a_resource_is_checked_too(wire, shared_group, change, target):
    path = f"{shared_group}/providers/Microsoft.MachineLearningServices/workspaces/envelope"
    body = {"location": "westus", "kind": "Hub", "properties": {}, **change}
    answer = wire.put(path, body, WORKSPACES)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["target"].startswith(target)
    assert wire.get(path, WORKSPACES).status_code == 404


def test_a_value_from_a_body_is_never_repeated(wire, path):
    """What was sent might be a secret that slipped into the wrong field."""
    secret = "hunter2-hunter2-hunter2"
    for body in ({"location": {"x": secret}}, {"location": "westus", "tags": {"a": [secret]}}):
        assert secret not in wire.put(path, body).text
    assert secret not in send(wire, path, b'{"location": "westus", "x": ' + secret.encode() + b"}").text


def head(wire, method, path, headers):
    """The head of a request, ended."""
    lines = {
        "Host": wire.server.endpoint.removeprefix("https://"),
        "Authorization": f"Bearer {wire.token}",
        "Content-Type": "application/json",
        **headers,
    }
    text = f"{method} {path}?api-version=2024-11-01 HTTP/1.1\r\n"
    return (text + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n").encode()


def wait_closed(stream):
    """Whether the server ends the connection (with or without an answer) within the socket's timeout."""
    try:
        while stream.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
