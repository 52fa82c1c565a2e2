"""HTTP itself: methods, headers, HEAD, plain http on the TLS port, and what every answer carries."""

import http.client
import re
import socket
import ssl
import subprocess
import uuid

import pytest
import requests
from support.wire import GROUPS, IDENTITIES, WORKSPACES, connect, read_answer, refused

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/subscriptions"),
        ("DELETE", "/subscriptions"),
        ("POST", "/subscriptions"),
        ("DELETE", "/tenants"),
        ("DELETE", "{subscription}/locations"),
        ("POST", "{subscription}/resources"),
        ("POST", "{subscription}/resourceGroups"),
        ("DELETE", "{subscription}/resourceGroups"),
        ("POST", "{group}"),
        ("PUT", "{subscription}/providers/Microsoft.ManagedIdentity"),
        ("PUT", f"{{group}}/{KIND}"),
        ("DELETE", f"{{group}}/{KIND}"),
        ("TRACE", "{group}"),
        ("FROBNICATE", "{group}"),
    ],
)
def test_a_wrong_method_is_refused_as_such(wire, bastide, shared_group, method, path):
    target = path.format(subscription=bastide.subscription, group=shared_group)
    answer = wire.raw(method, f"{target}?api-version={GROUPS}", b"{}" if method in ("PUT", "POST") else b"")
    refused(answer, 405, "MethodNotAllowed")


def test_a_method_in_a_header_is_not_the_method(wire, group):
    """`X-HTTP-Method-Override` would let a read become a delete behind a filter's back."""
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert wire.get(group, headers={name: "DELETE"}).status_code == 200
    assert wire.head(group).status_code == 204


def test_head_tells_whether_a_group_is_there(wire, group):
    answer = wire.head(group)
    assert (answer.status_code, answer.content) == (204, b"")
    answer = wire.head(group + "-not")
    assert (answer.status_code, answer.content) == (404, b"")


def test_head_of_a_resource_has_no_body(wire, group):
    wire.put(f"{group}/{KIND}/one", {"location": "westus"}, IDENTITIES)
    there, missing = wire.head(f"{group}/{KIND}/one", IDENTITIES), wire.head(f"{group}/{KIND}/two", IDENTITIES)
    assert there.status_code in (200, 204) and there.content == b""
    assert (missing.status_code, missing.content) == (404, b"")


def test_every_answer_has_its_own_request_id(wire):
    first, second = wire.get("/subscriptions"), wire.get("/subscriptions")
    assert UUID.match(first.headers["x-ms-request-id"])
    assert first.headers["x-ms-request-id"] != second.headers["x-ms-request-id"]


def test_a_correlation_id_is_echoed_or_made(wire):
    given = str(uuid.uuid4())
    assert wire.get("/subscriptions", headers={"x-ms-correlation-request-id": given}).headers[
        "x-ms-correlation-request-id"
    ] == given  # fmt: skip
    assert UUID.match(wire.get("/subscriptions").headers["x-ms-correlation-request-id"])


@pytest.mark.parametrize("given", ["x" * 5000, "<script>alert(1)</script>", "a b\tc", "\u00e9"])
def test_a_correlation_id_that_is_none_is_not_echoed(wire, given):
    answer = wire.get("/subscriptions", headers={"x-ms-correlation-request-id": given.encode("latin-1")})
    assert answer.headers["x-ms-correlation-request-id"] != given


def test_a_client_request_id_is_echoed_when_asked_for(wire):
    given = str(uuid.uuid4())
    asked = {"x-ms-client-request-id": given, "x-ms-return-client-request-id": "true"}
    assert wire.get("/subscriptions", headers=asked).headers["x-ms-client-request-id"] == given


def test_what_is_left_of_the_rate_limit_is_told(wire, group):
    reads = wire.get(group).headers
    assert int(reads["x-ms-ratelimit-remaining-subscription-reads"]) > 0
    writes = wire.put(group, {"location": "westus"}).headers
    assert int(writes["x-ms-ratelimit-remaining-subscription-writes"]) > 0
    deletes = wire.delete(f"{group}/{KIND}/none", IDENTITIES).headers
    assert int(deletes["x-ms-ratelimit-remaining-subscription-deletes"]) > 0


def test_errors_carry_the_ids_too(wire, anonymous):
    given = str(uuid.uuid4())
    for client in (wire, anonymous):
        answer = client.get("/subscriptions", version="nonsense", headers={"x-ms-correlation-request-id": given})
        assert answer.headers["x-ms-correlation-request-id"] == given
        assert UUID.match(answer.headers["x-ms-request-id"])


def test_plain_http_on_the_port_gets_a_readable_answer(bastide):
    with socket.create_connection(("127.0.0.1", bastide.port), timeout=10) as plain:
        plain.sendall(b"GET /subscriptions?api-version=2022-12-01 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = http.client.HTTPResponse(plain)
        answer.begin()
        text = answer.read().decode()
    assert answer.status == 400
    assert "https://" in text


def test_plain_http_with_a_token_gets_nothing_back_of_it(bastide, owner_token):
    with socket.create_connection(("127.0.0.1", bastide.port), timeout=10) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {owner_token}\r\n\r\n".encode())
        text = b"".join(iter(lambda: plain.recv(4096), b""))
    assert b"400" in text and owner_token.encode() not in text


def test_rubbish_on_the_port_ends_the_connection(bastide, wire):
    for rubbish in (b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"a" * 100, b"SSH-2.0-x\r\n", b"\xff" * 1000):
        with socket.create_connection(("127.0.0.1", bastide.port), timeout=20) as plain:
            plain.sendall(rubbish)
            assert_ends(plain)
    assert wire.get("/subscriptions").status_code == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_versions_are_not_spoken(bastide):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    plain = socket.create_connection(("127.0.0.1", bastide.port), timeout=10)
    with plain, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_certificate_covers_the_names_of_this_host(bastide, host):
    answer = requests.get(f"https://{host}:{bastide.port}/healthz", verify=bastide.ca_file, timeout=10)
    assert answer.status_code == 200


def test_the_certificate_covers_the_service_zones(bastide):
    """A vault is reached as `<vault>.vault.<zone>:port`; the metadata's suffix says which zone."""
    metadata = requests.get(
        f"{bastide.endpoint}/metadata/endpoints?api-version=2022-09-01", verify=bastide.ca_file, timeout=10
    ).json()  # fmt: skip
    for suffix in (metadata["suffixes"]["keyVaultDns"], metadata["suffixes"]["storage"]):
        zone = suffix.lstrip(".").split(":")[0]
        name = f"kv1.{zone}" if "vault" in zone else f"acc.blob.{zone}"
        context = ssl.create_default_context(cafile=bastide.ca_file)
        with socket.create_connection(("127.0.0.1", bastide.port), timeout=10) as plain:
            context.wrap_socket(plain, server_hostname=name).close()


def test_a_host_nobody_configured_is_never_echoed(wire, bastide, unique):
    """A poisoned Host header must not send anybody's token to somebody else."""
    for _ in range(3):
        assert wire.put(f"{bastide.subscription}/resourceGroups/{unique('host')}", {"location": "westus"}).ok
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    listing = wire.raw("GET", f"{bastide.subscription}/resourceGroups?api-version={GROUPS}&$top=1", headers=headers)
    assert listing.status_code in (200, 400, 421)
    assert b"evil.example" not in listing.content
    metadata = requests.get(
        f"{bastide.endpoint}/metadata/endpoints?api-version=2022-09-01",
        headers=headers, verify=bastide.ca_file, timeout=10,
    )  # fmt: skip
    assert "evil.example" not in metadata.text


def test_too_many_headers_are_refused(bastide, wire):
    with connect(bastide) as stream:
        head = "GET /subscriptions?api-version=2022-12-01 HTTP/1.1\r\nHost: x\r\n"
        stream.sendall((head + "".join(f"X-{n}: {n}\r\n" for n in range(2000)) + "\r\n").encode())
        assert read_answer(stream).status_code in (400, 431)
    assert wire.get("/subscriptions").status_code == 200


def test_a_header_of_endless_length_is_refused(bastide):
    with connect(bastide) as stream:
        try:
            stream.sendall(b"GET /subscriptions HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 1_000_000 + b"\r\n\r\n")
            status = read_answer(stream).status_code
        except OSError:
            return  # hung up on us in the middle, which is an answer too
    assert status in (400, 431)


def test_a_connection_serves_many_requests(bastide, wire):
    with connect(bastide) as stream:
        for _ in range(20):
            stream.sendall(
                f"GET /subscriptions?api-version=2022-12-01 HTTP/1.1\r\nHost: {bastide.endpoint[8:]}\r\n"
                f"Authorization: Bearer {wire.token}\r\n\r\n".encode()
            )
            assert read_answer(stream).status_code == 200


def test_answers_may_not_be_sniffed_or_kept(wire):
    headers = wire.get("/subscriptions").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "no-cache" in headers["Cache-Control"] or "no-store" in headers["Cache-Control"]
    assert "server" not in {name.lower() for name in headers} or "/" not in headers["Server"], (
        "no version is advertised"
    )


def test_the_process_answers_probes_without_a_token(bastide):
    for path in ("/healthz", "/readyz"):
        assert requests.get(bastide.endpoint + path, verify=bastide.ca_file, timeout=10).status_code == 200


def test_metrics_are_in_the_text_format_and_name_no_secret(bastide, wire):
    wire.get("/subscriptions")
    answer = requests.get(f"{bastide.endpoint}/metrics", verify=bastide.ca_file, timeout=10)
    assert answer.status_code == 200
    assert "# TYPE" in answer.text
    assert bastide.bootstrap.client_secret not in answer.text


def test_a_workspace_never_answers_201(wire, group):
    """The generated clients of machine learning accept 200 and 202 and raise on 201."""
    path = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/hub"
    answer = wire.put(path, {"location": "westus", "kind": "Hub", "properties": {}}, WORKSPACES)
    assert answer.status_code in (200, 202)


def assert_ends(plain):
    """The server ends the connection by itself, within the socket's timeout."""
    try:
        while plain.recv(4096):
            pass
    except TimeoutError:
        raise AssertionError("the connection stays open") from None
    except OSError:
        pass


def test_http_2_is_spoken_as_well(bastide, owner_token, tmp_path):
    """Go clients (Terraform) prefer it; the host then stands in `:authority` instead of a header."""
    (tmp_path / "token").write_text(f'header = "Authorization: Bearer {owner_token}"\n')
    done = subprocess.run(
        ["curl", "-sS", "--http2", "--cacert", bastide.ca_file, "-K", str(tmp_path / "token"),
         "-w", "\n%{http_version}\n", f"{bastide.endpoint}/subscriptions?api-version=2022-12-01",
         f"{bastide.endpoint}/metadata/endpoints?api-version=2022-09-01"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    subscriptions, version, *_ = done.stdout.splitlines()
    assert bastide.bootstrap.subscription_id in subscriptions
    assert version == "2"
    assert f'"resourceManager":"{bastide.endpoint}"' in done.stdout.replace(" ", "")


def test_a_person_who_opens_the_address_is_told_what_it_is(bastide):
    """A page that says so, runs nothing, and gives nothing away."""
    answer = requests.get(f"{bastide.endpoint}/", verify=bastide.ca_file, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html") and "Bastide" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"] and "<script" not in answer.text
    who = bastide.bootstrap
    for private in (who.tenant_id, who.subscription_id, who.client_id, who.client_secret, who.admin_user):
        assert private not in answer.text
