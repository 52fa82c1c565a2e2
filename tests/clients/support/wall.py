"""A hub whose wall is real, a leg in it, and what tries to get out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from support.server import Bastide

NET = "198.18.77"

# Where things of the internet are.
SITE = f"{NET}.10"
ELSEWHERE = f"{NET}.11"
RESOLVER = f"{NET}.53"


def run(*arguments: str, check: bool = True, timeout: float = 20) -> subprocess.CompletedProcess:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done


@dataclass
class Hub:
    """An approved-only hub of a running Bastide, with one leg."""

    server: Bastide
    path: str
    namespace: str
    authority: Path
    incarnation: str = ""

    def call(self, method: str, path: str = "", body: dict | None = None) -> requests.Response:
        token = self.server.run("token").strip()
        return requests.request(
            method, f"{self.server.endpoint}{self.path}{path}?api-version=2024-10-01", json=body, timeout=30,
            headers={"authorization": f"Bearer {token}"}, verify=self.server.ca_file,
        )  # fmt: skip

    @property
    def own_namespace(self) -> str:
        return f"bas-h-{self.incarnation[-12:]}"

    def network(self) -> dict:
        return self.call("GET").json()["properties"]["managedNetwork"]

    def put_rule(self, name: str, destination: str, **extension) -> dict:
        properties = {"type": "FQDN", "destination": destination, **({"bastide": extension} if extension else {})}
        answer = self.call("PUT", f"/outboundRules/{name}", {"properties": properties})
        assert answer.status_code == 200, answer.text
        return answer.json()["properties"]

    def inside(self, *arguments: str, timeout: float = 20) -> subprocess.CompletedProcess:
        return run("ip", "netns", "exec", self.namespace, *arguments, check=False, timeout=timeout)

    def curl(self, url: str, *arguments: str) -> subprocess.CompletedProcess:
        return self.inside("curl", "-sS", "-m", "8", "--cacert", str(self.authority), *arguments, url)

    def asks(self, name: str) -> subprocess.CompletedProcess:
        return self.inside(sys.executable, "-c", f"import socket; print(socket.gethostbyname({name!r}))")

    def flows(self, *arguments: str) -> list[dict]:
        answer = self.server.run("network", "flows", "-g", "wall", "-w", "hub", "-o", "json", *arguments)
        return json.loads(answer)["value"]

    def explain(self, to: str) -> dict:
        return json.loads(self.server.run("network", "explain", "-g", "wall", "-w", "hub", "-o", "json", "--to", to))

    def processes(self, word: str) -> list[int]:
        """The children of this Bastide, and theirs, that were started as `bastide WORD`."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            children.setdefault(int(text.rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
        found, queue = [], [self.server.process.pid]
        while queue:
            for child in children.get(queue.pop(), []):
                queue.append(child)
                try:
                    arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue  # it has gone meanwhile
                if arguments[1:2] == [word.encode()]:
                    found.append(child)
        return found


def make_hub(server: Bastide, internet: Path):
    """An approved-only hub, provisioned, with one rule and one leg."""
    path = f"{server.subscription}/resourceGroups/wall"
    hub = Hub(server, path, "", internet / "ca.pem")
    assert hub.call("PUT", body={"location": "westus"}).status_code == 201
    hub.path += "/providers/Microsoft.MachineLearningServices/workspaces/hub"
    rules = {"site": {"type": "FQDN", "destination": "allowed.example.com"}}
    managed = {"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": rules}
    body = {"location": "westus", "kind": "Hub", "properties": {"managedNetwork": managed, "provisionNetworkNow": True}}
    made = hub.call("PUT", body=body)
    assert made.status_code == 200, made.text
    assert made.json()["properties"]["managedNetwork"]["status"]["status"] == "Active", made.text
    hub.incarnation = made.json()["properties"]["workspaceId"]
    hub.namespace = json.loads(server.run("network-leg", "attach", "probe"))["namespace"]
    settings = Path("/etc/netns") / hub.namespace
    settings.mkdir(parents=True)
    (settings / "resolv.conf").write_text("nameserver 100.127.0.1\noptions timeout:2 attempts:1\n")
    yield hub
    (settings / "resolv.conf").unlink()
    settings.rmdir()


class Prober:
    """Tries what is denied, from inside, as fast as it can, until it is stopped."""

    def __init__(self, hub):
        code = (
            "import socket, ssl\n"
            "context = ssl.create_default_context()\n"
            "context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n"
            f"site = ({SITE!r}, 443)\n"
            f"targets = [({SITE!r}, 22), ({ELSEWHERE!r}, 22), ({RESOLVER!r}, 53), ('198.18.77.1', 22)]\n"
            "while True:\n"
            "    for target in targets:\n"
            "        try:\n"
            "            with socket.create_connection(target, 0.3):\n"
            "                print(target, flush=True)\n"
            "        except OSError:\n"
            "            pass\n"
            "    for name in 'other.example.com', 'evil.example.com':\n"
            "        try:\n"
            "            with context.wrap_socket(socket.create_connection(site, 0.3), server_hostname=name):\n"
            "                print(name, flush=True)\n"
            "        except OSError:\n"
            "            pass\n"
            "    try:\n"
            "        print(socket.gethostbyname('evil.example.com'), flush=True)\n"
            "    except OSError:\n"
            "        pass\n"
        )
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", hub.namespace, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> list[str]:
        assert self.process.poll() is None, "the prober has ended by itself"
        self.process.kill()
        return self.process.communicate()[0].splitlines()


def until(wanted, seconds: float = 10):
    """What `wanted` returns once it is true of something; fails after a while."""
    deadline = time.monotonic() + seconds
    while True:
        found = wanted()
        if found:
            return found
        assert time.monotonic() < deadline, f"it never came within {seconds} s: {wanted}"
        time.sleep(0.1)
