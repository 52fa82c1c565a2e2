"""JupyterLab of a compute, on an origin of its own: started by the first request, reached by whoever may, and by a
browser after a sign-in (compute.md 2.1)."""

from __future__ import annotations

import json
import time
import uuid
from urllib.parse import urlsplit

import pytest
import requests
import websocket
from support import login
from support.browser import Browser
from support.compute import VERSION, Colleague, Pages, make
from support.wire import Wire


@pytest.fixture(scope="module")
def token(compute):
    return login.access_token(compute.server)


@pytest.fixture(scope="module")
def pages(compute, token):
    return Pages(compute, token)


def test_the_first_request_starts_it(pages):
    began = time.monotonic()
    assert pages.request("GET", "/api/status").status_code == 200
    first = time.monotonic() - began
    assert pages.request("GET", "/lab").status_code == 200
    assert first < 20, f"Jupyter took {first:.1f} s"


def test_a_kernel_runs_a_cell_over_the_proxied_websocket(pages, token):
    kernel = pages.request("POST", "/api/kernels", json={"name": "python3"})
    assert kernel.status_code == 201, kernel.text
    code = "import os, socket; print(6 * 7, os.getuid(), socket.gethostname())"
    said = run_cell(pages, kernel.json()["id"], code, [f"Authorization: Bearer {token}"])
    assert said == "42 1000 ci-jupyter\n"
    assert pages.request("DELETE", f"/api/kernels/{kernel.json()['id']}").status_code == 204


def test_files_are_written_and_read(pages):
    body = {"type": "file", "format": "text", "content": "x" * (1 << 20)}
    assert pages.request("PUT", "/api/contents/large.txt", json=body).status_code == 201
    assert pages.request("GET", "/api/contents/large.txt").json()["content"] == body["content"]
    # As a script downloads it, which no page has sent here.
    assert pages.request("GET", "/files/large.txt").text == body["content"]
    assert pages.compute.exec("stat", "--format", "%a", "large.txt").stdout == b"644\n"


def test_a_terminal_is_the_users_own_shell(pages, compute, token):
    """As a window of JupyterLab opens it."""
    name = pages.request("POST", "/api/terminals").json()["name"]
    socket = pages.socket(f"/terminals/websocket/{name}", [f"Authorization: Bearer {token}"])
    socket.send(json.dumps(["stdin", "echo $0:$(umask):$((40 + 2))\r"]))
    said = ""
    while ":42" not in said:
        kind, text = json.loads(socket.recv())[:2]
        said += text if kind == "stdout" else ""
    socket.close()
    assert "bash:0022:42" in said
    assert pages.request("DELETE", f"/api/terminals/{name}").status_code == 204


def test_what_proves_the_visitor_does_not_reach_the_compute(pages, compute, token):
    """A page in the compute shows every header that it gets."""
    page = (
        "import http.server as h\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(str(self.headers).encode())\n"
        "h.HTTPServer(('127.0.0.1', 8705), H).serve_forever()\n"
    )
    started = compute.exec("sh", "-c", f"setsid python3 -c \"{page}\" >/dev/null 2>&1 </dev/null & sleep 1")
    assert started.returncode == 0
    origin = pages.origin.replace("https://", "https://8705-")
    answer = pages.session.get(f"{origin}/x", headers={"Cookie": "mine=1; __Host-bastide-visit=2"}, timeout=30)
    assert answer.status_code == 200 and "mine=1" in answer.text
    assert token not in answer.text and "__Host-bastide" not in answer.text and "Authorization" not in answer.text


def test_nobody_gets_in_without_a_token_or_a_role(compute):
    assert Pages(compute, None).request("GET", "/api/status").status_code == 401
    assert Pages(compute, Colleague(compute).token).request("GET", "/api/status").status_code == 403


def test_a_host_that_is_nobodys_is_not_there(pages):
    label = urlsplit(pages.origin).hostname.split(".")[0]
    other = pages.origin.replace(label, "ci-jupyter-00000000")
    assert pages.session.get(f"{other}/lab", timeout=30).status_code == 404


def test_a_browser_signs_in_and_comes_back_with_a_cookie_of_that_host(compute):
    server = compute.server
    # The admin user needs a role of its own at the instance, and a shared one: it is the bootstrap client's.
    assert share(compute).status_code in (200, 201)
    browser = Browser(server.ca_file)
    browser.session.headers["Accept"] = "text/html"
    page = browser.open(f"{compute.jupyter}/lab?reset")
    assert urlsplit(page.url).netloc == urlsplit(server.endpoint).netloc, "the password is typed on the main origin"
    page = browser.sign_in(page, server.bootstrap.admin_user, server.bootstrap.admin_password)
    assert page.url.startswith(compute.jupyter) and "JupyterLab" in page.text, page.url
    cookie = next(cookie for cookie in browser.session.cookies if cookie.name == "__Host-bastide-visit")
    assert cookie.domain == urlsplit(compute.jupyter).hostname and cookie.secure
    # With the cookie, only what its own pages ask for counts.
    foreign = {"Origin": server.endpoint}
    answer = browser.session.post(f"{compute.jupyter}/api/kernels", json={}, headers=foreign, timeout=30)
    assert answer.status_code == 403, answer.text
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Pages(compute, None).socket(
            "/api/events/subscribe", [f"Cookie: {cookie.name}={cookie.value}"], origin="https://evil.example"
        )
    assert refused.value.status_code == 403
    # The cookie is sealed to its instance: another one's is as good as none.
    other = make(server, "ci-neighbour")
    answer = requests.get(
        f"{other.jupyter}/api/status", headers={"Cookie": f"{cookie.name}={cookie.value}"}, verify=server.ca_file, timeout=30
    )
    assert answer.status_code == 401


def test_the_socket_ends_when_the_instance_stops(pages, compute, token):
    kernel = pages.request("POST", "/api/kernels", json={"name": "python3"}).json()["id"]
    socket = pages.socket(f"/api/kernels/{kernel}/channels", [f"Authorization: Bearer {token}"])
    assert compute.run("stop").returncode == 0
    with pytest.raises((websocket.WebSocketException, OSError)):
        while socket.recv():
            pass
        raise OSError("closed")
    assert compute.run("start").returncode == 0
    assert pages.request("GET", "/api/status").status_code == 200, "and it starts again with the next request"


def share(compute) -> requests.Response:
    """Lets everybody with a role open the instance's pages."""
    wire = Wire(compute.server, login.access_token(compute.server))
    body = wire.get(compute.path, VERSION).json()
    body["properties"]["properties"]["applicationSharingPolicy"] = "Shared"
    return wire.put(compute.path, {"location": body["location"], "properties": {
        "computeType": "ComputeInstance",
        "properties": {"vmSize": body["properties"]["properties"]["vmSize"], "applicationSharingPolicy": "Shared"},
    }}, VERSION)  # fmt: skip


def run_cell(pages: Pages, kernel: str, code: str, headers: list[str]) -> str:
    """What a cell prints, by the protocol that browsers speak."""
    session = uuid.uuid4().hex
    socket = pages.socket(f"/api/kernels/{kernel}/channels?session_id={session}", headers)
    message = {
        "header": {"msg_id": uuid.uuid4().hex, "username": "", "session": session, "msg_type": "execute_request", "version": "5.3"},
        "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
        "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False},
    }  # fmt: skip
    socket.send(json.dumps(message))
    printed = ""
    while True:
        answer = json.loads(socket.recv())
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return printed
