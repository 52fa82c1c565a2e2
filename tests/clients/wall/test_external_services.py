"""What an administrator declares is reached from inside a hub by its private name, bytes and all, and nothing else of the
network around the host is (egress.md row 31; mission.md K2, (c) 11)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from support.server import Bastide
from support.wall import make_hub, run, until

API = "api-version=2026-11-01"
# The network around the host, in a building of the test's own.
LAN = "10.77.13"
HOST, SERVER = f"{LAN}.1", f"{LAN}.2"
ECHO = 7007
REDIS = 6379
POSTGRES = 5432

ECHOES = """
import socket, sys, threading
def talk(peer):
    with peer:
        while bytes := peer.recv(65536):
            peer.sendall(bytes)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()
"""

# Sends a megabyte and reads it back.
ASKS = """
import socket, sys, threading
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 8) as peer:
    sent = bytes(range(256)) * 4096
    sending = threading.Thread(target=peer.sendall, args=(sent,))
    sending.start()
    got = b""
    while len(got) < len(sent) and (more := peer.recv(65536)):
        got += more
    sending.join()
    # A reset is told to one of the two, and the other sees an end.
    if not got:
        sys.exit("refused")
    print("same" if got == sent else f"{len(got)} other bytes")
"""


@pytest.fixture(scope="module")
def building():
    """A namespace with a machine in it, beside the host."""
    name, outer, inner = f"bwl{os.getpid()}", f"bwk{os.getpid() % 100000}", f"bwj{os.getpid() % 100000}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        run("ip", "addr", "add", f"{HOST}/24", "dev", outer)
        run("ip", "link", "set", outer, "up")
        run("ip", "-n", name, "addr", "add", f"{SERVER}/24", "dev", inner)
        for device in (inner, "lo"):
            run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", name, "route", "add", "default", "via", HOST)
        yield name
    finally:
        run("ip", "netns", "del", name, check=False)
        run("ip", "link", "del", outer, check=False)


@pytest.fixture(scope="module")
def echoes(building):
    """Programs that say again what they hear: on the machine in the building, and on the host itself."""
    programs = []
    for place, address in ((["ip", "netns", "exec", building], SERVER), ([], HOST)):
        command = [*place, sys.executable, "-c", ECHOES, address, str(ECHO)]
        programs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert programs[-1].stdout.readline() == "ready\n"
    yield
    for program in programs:
        program.kill()
        program.wait()


@pytest.fixture(scope="module")
def server(building, homes):
    server = Bastide(homes())
    yield server.start()
    server.close()


@pytest.fixture(scope="module")
def hub(server, tmp_path_factory):
    yield from make_hub(server, tmp_path_factory.mktemp("nobody"))


def request(hub, method: str, path: str, body: dict | None = None) -> requests.Response:
    token = hub.server.run("token").strip()
    return requests.request(
        method, f"{hub.server.endpoint}{path}", json=body, timeout=30,
        headers={"authorization": f"Bearer {token}"}, verify=hub.server.ca_file,
    )  # fmt: skip


def declare(hub, name: str, target: str, **more) -> dict:
    path = f"{hub.server.subscription}/resourceGroups/wall/providers/Bastide.Network/externalServices/{name}"
    answer = request(hub, "PUT", f"{path}?{API}", {"properties": {"target": target, **more}})
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def lead(hub, rule: str, service: dict) -> dict:
    destination = {"serviceResourceId": service["id"], "subresourceTarget": "tcp", "sparkEnabled": False}
    answer = hub.call("PUT", f"/outboundRules/{rule}", {"properties": {"type": "PrivateEndpoint", "destination": destination}})
    assert answer.status_code == 200, answer.text
    return answer.json()["properties"]


def ask(hub, host: str, port: int) -> str:
    done = hub.inside(sys.executable, "-c", ASKS, host, str(port))
    return done.stdout.strip() if done.returncode == 0 else "refused"


def test_real_bytes_reach_a_declared_service_and_nothing_else_of_that_machine(hub, echoes):
    service = declare(hub, "echo", f"{SERVER}:{ECHO}", description="says again what it hears")
    name = service["properties"]["privateFqdn"]
    assert ask(hub, name, ECHO) == "refused", "a declaration alone opens nothing"
    assert lead(hub, "echo", service)["status"] == "Active"
    assert ask(hub, name, ECHO) == "same"
    assert ask(hub, name, 22) == "refused", "another port of its private name"
    assert ask(hub, SERVER, ECHO) == "refused", "its own address stays out of reach"
    assert ask(hub, SERVER, 22) == "refused"
    record = until(lambda: [flow for flow in hub.flows() if flow["kind"] == "relay" and flow["rule"] == "echo"])[-1]
    assert record["address"] == SERVER and record["sent"] >= 1 << 20 and record["received"] >= 1 << 20
    explained = hub.explain(f"{name}:{ECHO}")
    assert explained["allowed"] and explained["rule"] == "echo", explained


def test_a_service_that_moves_is_followed_and_one_that_is_used_stays(hub, echoes):
    service = declare(hub, "moves", f"{SERVER}:9")
    name = service["properties"]["privateFqdn"]
    assert lead(hub, "moves", service)["status"] == "Active"
    assert ask(hub, name, 9) == "refused", "nobody listens there"
    declare(hub, "moves", f"{SERVER}:{ECHO}")
    until(lambda: ask(hub, name, ECHO) == "same")
    path = service["id"]
    refused = request(hub, "DELETE", f"{path}?{API}")
    assert refused.status_code == 409 and "outboundRules/moves" in refused.text
    assert hub.call("DELETE", "/outboundRules/moves").status_code == 200
    assert ask(hub, name, ECHO) == "refused", "the name went with its rule"
    assert request(hub, "DELETE", f"{path}?{API}").status_code == 200


def test_the_host_itself_is_reached_by_an_owners_grant_alone(hub, echoes):
    service = declare(hub, "own-host", f"{HOST}:{ECHO}")
    rule = lead(hub, "own-host", service)
    assert rule["status"] == "Inactive" and "Owner" in rule["errorInformation"], rule
    name = service["properties"]["privateFqdn"]
    assert ask(hub, name, ECHO) != "same"
    declare(hub, "own-host", f"{HOST}:{ECHO}", allowHostTarget=True)
    until(lambda: hub.call("GET", "/outboundRules/own-host").json()["properties"]["status"] == "Active")
    assert ask(hub, name, ECHO) == "same"
    declare(hub, "own-host", f"{HOST}:{ECHO}")
    until(lambda: ask(hub, name, ECHO) != "same")


def test_the_hubs_own_api_is_a_private_endpoint_too(hub):
    destination = {"serviceResourceId": hub.path, "subresourceTarget": "amlworkspace", "sparkEnabled": False}
    made = hub.call("PUT", "/outboundRules/itself", {"properties": {"type": "PrivateEndpoint", "destination": destination}})
    assert made.json()["properties"]["status"] == "Active", made.text
    port = hub.server.endpoint.rsplit(":", 1)[1]
    done = hub.inside("curl", "-sS", "-m", "8", "--cacert", hub.server.ca_file, f"https://api.bastide.internal:{port}/healthz")
    assert done.stdout == "ok", done.stderr


@pytest.mark.skipif(not shutil.which("redis-server"), reason="SKIP: no redis-server here")
def test_redis_in_the_building(hub, building, tmp_path):
    command = ["redis-server", "--bind", SERVER, "--port", str(REDIS), "--save", "", "--protected-mode", "no", "--dir", str(tmp_path)]
    program = subprocess.Popen(["ip", "netns", "exec", building, *command], stdout=subprocess.PIPE, text=True)
    try:
        service = declare(hub, "cache", f"{SERVER}:{REDIS}")
        assert lead(hub, "cache", service)["status"] == "Active"
        name = service["properties"]["privateFqdn"]
        client = ["redis-cli", "-h", name, "-p", str(REDIS)]
        until(lambda: hub.inside(*client, "ping").stdout == "PONG\n")
        assert hub.inside(*client, "set", "town", "walled").stdout == "OK\n"
        assert hub.inside(*client, "get", "town").stdout == "walled\n"
    finally:
        program.kill()
        program.wait()


def postgres() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.mark.skipif(not postgres(), reason="SKIP: no PostgreSQL here")
def test_postgresql_in_the_building(hub, building, tmp_path):
    binaries, data = postgres(), tmp_path / "data"
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o711)
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    as_postgres = ["runuser", "-u", "postgres", "--"]
    run(*as_postgres, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-N", timeout=60)
    (data / "pg_hba.conf").write_text("host all all 0.0.0.0/0 trust\n")
    options = ["-D", str(data), "-c", f"listen_addresses={SERVER}", "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
    command = ["ip", "netns", "exec", building, *as_postgres, str(binaries / "postgres"), *options]
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        service = declare(hub, "ledger", f"{SERVER}:{POSTGRES}")
        assert lead(hub, "ledger", service)["status"] == "Active"
        name = service["properties"]["privateFqdn"]
        asks = ["psql", "-h", name, "-U", "postgres", "-tAc"]
        until(lambda: hub.inside(*asks, "select 6 * 7").stdout == "42\n", 20)
        rows = hub.inside(*asks, "select sum(length(repeat('x', n))) from generate_series(1, 1000) n").stdout
        assert rows == "500500\n"
    finally:
        program.terminate()
        program.wait(20)


def test_a_pack_of_service_tags_is_imported_by_the_command_line(hub, tmp_path):
    rule = {"type": "ServiceTag", "destination": {"serviceTag": "DataFactory", "protocol": "TCP", "portRanges": "22, 8000-8010"}}
    made = hub.call("PUT", "/outboundRules/factory", {"properties": rule}).json()["properties"]
    assert made["status"] == "Inactive" and "service-tags import" in made["errorInformation"], made
    tag = {"name": "DataFactory", "properties": {"addressPrefixes": ["198.18.99.0/24", "2001:db8::/32"]}}
    file = tmp_path / "ServiceTags_Public.json"
    file.write_text("\ufeff" + json.dumps({"changeNumber": 345, "cloud": "Public", "values": [tag]}), encoding="utf-8")
    words = ("network", "service-tags")
    told = hub.server.run(*words, "import", "--dry-run", str(file))
    assert "+ DataFactory" in told and "Nothing was changed" in told, told
    assert "IPv6" in hub.server.run(*words, "import", str(file))
    until(lambda: hub.call("GET", "/outboundRules/factory").json()["properties"]["status"] == "Active")
    assert hub.explain("198.18.99.7:8005")["allowed"] and not hub.explain("198.18.99.7:443")["allowed"]
    assert hub.server.run(*words, "show", "azure", "--tag", "datafactory") == "198.18.99.0/24\n"
    assert "345" in hub.server.run(*words, "list")
    hub.server.run(*words, "remove", "azure")
    until(lambda: hub.call("GET", "/outboundRules/factory").json()["properties"]["status"] == "Inactive")
    assert not hub.explain("198.18.99.7:8005")["allowed"]


def test_rules_are_asked_for_approved_undone_and_preset_by_the_command_line(hub):
    on = ("-g", "wall", "-w", "hub")
    network = lambda *words: hub.server.run("network", *words, *on)  # noqa: E731
    assert "models.example" in network("ask", "--to", "models.example", "--for", "2h", "--because", "weights")
    (asked,) = json.loads(network("requests", "-o", "json"))["value"]
    assert (asked["status"], asked["minutes"], asked["justification"]) == ("Pending", 120, "weights")
    assert "Approved: models.example" in network("approve", asked["id"], "--for", "1h")
    assert hub.explain("models.example:443")["allowed"]
    assert "models.example" in network("rollback")
    assert not hub.explain("models.example:443")["allowed"], "the approval is undone"
    latest, approval = json.loads(network("history", "-o", "json"))["value"][:2]
    assert [len(change["changes"]["added"]) for change in (latest, approval)] == [0, 1]
    assert "No difference" in network("diff", "--from", str(latest["revision"]))
    assert "any-pythonhosted-org: *.pythonhosted.org" in network("preset", "apply", "python-packages")
    assert hub.explain("files.pythonhosted.org:443")["allowed"]
    assert "912.5" in network("cost"), "a firewall for a month"


def test_what_was_refused_becomes_rules_with_their_evidence(hub):
    for name in ("weights.example", "index.example"):
        assert hub.asks(name).returncode != 0
    on = ("-g", "wall", "-w", "hub", "--since", "5m")
    told = until(lambda: (text := hub.server.run("network", "suggest", *on)) and "weights.example" in text and text)
    assert "- name: weights-example" in told and "by probe" in told and "*" not in told.split("# no rule")[0], told
    assert "azapi_resource" in hub.server.run("network", "suggest", *on, "--as", "terraform")
    rules = json.loads(hub.server.run("network", "suggest", *on, "--as", "arm").split("\n#")[0])
    assert hub.call("POST", "/batchOutboundRules", rules).status_code == 200
    assert hub.explain("weights.example:443")["allowed"]
