"""A compute instance behind a real wall, and the ways into it."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import websocket

from support import login
from support.secrets import SECRETS
from support.server import Bastide, binary, environment
from support.wall import until
from support.wire import GROUPS, Wire

VERSION = "2024-10-01-preview"
GROUP, HUB = "compute", "hub"

# The first compute of a host has the base image made, of packages that are fetched.
FIRST = 900


@dataclass
class Compute:
    """A compute instance of a running Bastide, named on the command line as people name it."""

    server: Bastide
    name: str

    @property
    def path(self) -> str:
        return f"{hub_path(self.server)}/computes/{self.name}"

    def command(self, verb: str, *arguments: str) -> list[str]:
        """A command line; what stands behind `--` must come last."""
        where = ["--name", self.name, "--workspace-name", HUB, "--resource-group", GROUP]
        return [str(binary()), "ml", "compute", verb, *where, "--data-dir", str(self.server.data_dir), *arguments]

    def run(self, verb: str, *arguments: str, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess:
        options = {"capture_output": True, "check": False, "env": environment(), **options}
        if "stdin" not in options and "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run(self.command(verb, *arguments), timeout=timeout, **options)

    def exec(self, *command: str, options: list[str] | None = None, **more: Any) -> subprocess.CompletedProcess:
        return self.run("exec", *(options or []), "--", *command, **more)

    def show(self) -> dict:
        done = self.run("show", "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def jupyter(self) -> str:
        """The origin of its pages."""
        parts = urlsplit(next(one["endpoint_uri"] for one in self.show()["services"] if one["endpoint_uri"].endswith("/lab")))
        return f"{parts.scheme}://{parts.netloc}"


class Pages:
    """A client of an instance's origin, and of what it serves there."""

    def __init__(self, compute, token: str | None):
        self.compute, self.origin = compute, compute.jupyter
        self.session = requests.Session()
        self.session.verify = compute.server.ca_file
        self.session.trust_env = False
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, path: str, **options) -> requests.Response:
        return self.session.request(method, self.origin + path, timeout=90, allow_redirects=False, **options)

    def socket(self, path: str, headers: list[str], **options) -> websocket.WebSocket:
        url = f"wss{self.origin.removeprefix('https')}{path}"
        ssl = {"ca_certs": self.compute.server.ca_file}
        return websocket.create_connection(url, header=headers, sslopt=ssl, timeout=60, **options)


def hub_path(server: Bastide) -> str:
    return f"{server.subscription}/resourceGroups/{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/{HUB}"


def make_hub(server: Bastide) -> None:
    """An approved-only hub: what its computes reach is nothing but Bastide itself."""
    wire = Wire(server, login.access_token(server))
    assert wire.put(f"{server.subscription}/resourceGroups/{GROUP}", {"location": "local"}).status_code == 201
    managed = {"isolationMode": "AllowOnlyApprovedOutbound"}
    body = {"location": "local", "kind": "Hub", "identity": {"type": "SystemAssigned"}, "properties": {"managedNetwork": managed}}
    made = wire.put(hub_path(server), body, VERSION)
    assert made.status_code in (200, 201), made.text


def make(server: Bastide, name: str, *arguments: str) -> Compute:
    """Creates an instance by the command line, and waits until it runs."""
    compute = Compute(server, name)
    done = compute.run("create", "--type", "ComputeInstance", *arguments, "-o", "json", timeout=FIRST)
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    assert document["state"] == "Running", document
    return compute


def clear(server: Bastide) -> None:
    """Deletes every compute of the hub, and waits until they are gone."""
    wire, computes = Wire(server, login.access_token(server)), f"{hub_path(server)}/computes"
    for compute in wire.get(computes, VERSION).json()["value"]:
        wire.delete(f"{computes}/{compute['name']}", VERSION, params={"underlyingResourceAction": "Delete"})
    until(lambda: wire.get(computes, VERSION).json()["value"] == [], 60)


class Colleague:
    """A principal of its own, with a role on the compute that can be taken away again."""

    # AzureML Compute Operator: everything about computes, and nothing else.
    ROLE = "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815"

    def __init__(self, compute: Compute):
        self.compute, self.server = compute, compute.server
        self.owner = Wire(self.server, login.access_token(self.server))
        graph = requests.Session()
        graph.verify = self.server.ca_file
        graph.headers["Authorization"] = f"Bearer {login.access_token(self.server, scope=f'{self.server.endpoint}/graph/.default')}"
        application = graph.post(f"{self.server.endpoint}/graph/v1.0/applications", json={"displayName": "colleague"}, timeout=30).json()
        principal = graph.post(f"{self.server.endpoint}/graph/v1.0/servicePrincipals", json={"appId": application["appId"]}, timeout=30)
        self.object_id = principal.json()["id"]
        address = f"{self.server.endpoint}/graph/v1.0/applications/{application['id']}/addPassword"
        password = graph.post(address, json={"passwordCredential": {"displayName": "test"}}, timeout=30).json()["secretText"]
        SECRETS.add(password)
        self.token = login.access_token(self.server, client_id=application["appId"], client_secret=password)
        self.assignment = ""

    def assign(self) -> None:
        self.assignment = f"{self.compute.path}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        role = f"{self.server.subscription}/providers/Microsoft.Authorization/roleDefinitions/{self.ROLE}"
        properties = {"roleDefinitionId": role, "principalId": self.object_id, "principalType": "ServicePrincipal"}
        answer = self.owner.put(self.assignment, {"properties": properties}, "2022-04-01")
        assert answer.status_code == 201, answer.text

    def revoke(self) -> None:
        assert self.owner.delete(self.assignment, "2022-04-01").status_code == 200

    def environment(self) -> dict[str, str]:
        """The command line as the colleague."""
        return {
            **environment(),
            "BASTIDE_ENDPOINT": self.server.endpoint, "BASTIDE_CA_FILE": self.server.ca_file, "BASTIDE_TOKEN": self.token,
            "BASTIDE_SUBSCRIPTION": self.server.bootstrap.subscription_id,
        }  # fmt: skip

    def command(self, verb: str, *arguments: str) -> list[str]:
        where = ["--name", self.compute.name, "--workspace-name", HUB, "--resource-group", GROUP]
        return [str(binary()), "ml", "compute", verb, *where, *arguments]


def ssh_home(folder: Path) -> dict[str, str]:
    """An environment in which the command line keeps its key in a folder of the test's."""
    return {**environment(), "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "PATH": os.environ["PATH"]}


__all__ = ["FIRST", "GROUP", "GROUPS", "HUB", "VERSION", "Colleague", "Compute", "Pages", "hub_path", "make", "make_hub", "ssh_home"]
