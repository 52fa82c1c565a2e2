"""Who runs in a compute is somebody: the usual clients get tokens of the compute's own identity and find Bastide's API,
with nothing told to them (compute.md 2.3, security.md 2.2; mission.md C6)."""

from __future__ import annotations

import io
import json
import sysconfig
import tarfile
import time
import uuid
from pathlib import Path

import pytest

from support import login
from support.compute import VERSION, hub_path, make
from support.wire import Wire

TOKEN = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/"

DESCRIPTION = "http://169.254.169.254/metadata/instance?api-version=2021-02-01"

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


@pytest.fixture(scope="module")
def compute(hub):
    return make(hub, "ci-identity", "--identity-type", "SystemAssigned")


@pytest.fixture(scope="module")
def principal(compute):
    """The compute's identity, which may read its hub and nothing else."""
    owner = Wire(compute.server, login.access_token(compute.server))
    found = owner.get(compute.path, VERSION).json()["identity"]["principalId"]
    role = f"{compute.server.subscription}/providers/Microsoft.Authorization/roleDefinitions/{READER}"
    assignment = f"{hub_path(compute.server)}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    properties = {"roleDefinitionId": role, "principalId": found, "principalType": "ServicePrincipal"}
    assert owner.put(assignment, {"properties": properties}, "2022-04-01").status_code == 201
    return found


@pytest.fixture(scope="module")
def sdk(compute):
    """The SDK of this suite, carried into the compute: the hub's wall lets it fetch none."""
    site = Path(sysconfig.get_paths()["purelib"])
    left_out = {"pip", "setuptools", "_pytest", "pygments", "github", "nacl"}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for path in sorted(site.iterdir()):
            if path.name not in left_out | {"azure", "__pycache__"}:
                tar.add(path, path.name)
        for name in ["ai", "common", "core", "identity", "mgmt/core", "monitor", "storage"]:
            tar.add(site / "azure" / name, f"azure/{name}")
    done = compute.exec("sh", "-c", "mkdir -p ~/sdk && tar -xz -C ~/sdk", input=archive.getvalue(), timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def python(compute, script: str, **variables: str) -> dict:
    """Runs a script in the compute, and gives what it has printed last."""
    set_ = ["env", "PYTHONPATH=/home/azureuser/sdk", *(f"{name}={value}" for name, value in variables.items())]
    done = compute.exec(*set_, "python", "-", input=script.encode(), timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


def test_curl_gets_a_token_of_the_computes_own_identity(compute, principal):
    done = compute.exec("curl", "-sS", "-H", "Metadata: true", TOKEN)
    token = json.loads(done.stdout)
    assert token["token_type"] == "Bearer", token
    as_it = Wire(compute.server, token["access_token"])
    assert as_it.get(hub_path(compute.server), VERSION).status_code == 200
    assert as_it.get(f"{compute.server.subscription}/resourceGroups").json()["value"] == []


def opened_again(server) -> int:
    return server.log.read_text(errors="replace").count("its metadata socket is gone")


def test_the_service_is_there_whenever_it_is_asked_also_beside_others(hub, compute):
    """Clients give a metadata service a second, and take its silence for a host that is no cloud's."""
    other = make(hub, "ci-beside")
    cut = opened_again(hub)
    for number in range(12):
        one = (compute, other)[number % 2]
        asked = one.exec("curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}", DESCRIPTION)
        assert asked.stdout == b"400 1", (number, asked)
        time.sleep(0.25)
    assert opened_again(hub) == cut, "it is opened once, and stays"
    assert other.run("delete", "--yes").returncode == 0


@pytest.mark.parametrize("header", ["Accept: */*", "Metadata: false", "X-Forwarded-For: 10.0.0.1"])
def test_who_does_not_ask_on_purpose_gets_none(compute, header):
    metadata = [] if header.startswith("Metadata") else ["-H", "Metadata: true"] if header.startswith("X-") else []
    done = compute.exec("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", header, *metadata, TOKEN)
    assert done.stdout == b"400"


def test_a_compute_knows_what_it_is(compute):
    url = "http://169.254.169.254/metadata/instance/compute?api-version=2021-02-01"
    found = json.loads(compute.exec("curl", "-sS", "-H", "Metadata: true", url).stdout)
    assert (found["name"], found["resourceId"].lower()) == (compute.name, compute.path.lower())


def test_nobody_inside_takes_the_place_of_the_service(compute):
    bind = "import socket; socket.socket().bind(('169.254.169.254', 80))"
    assert compute.exec("python", "-c", bind).returncode != 0


@pytest.mark.parametrize("way", ["azure-ml", "imds"])
def test_default_azure_credential_works_as_it_is(compute, principal, sdk, way):
    script = """
import json, os
if os.environ["WAY"] == "imds":
    del os.environ["MSI_ENDPOINT"], os.environ["MSI_SECRET"]
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
for credential in [ManagedIdentityCredential(), DefaultAzureCredential()]:
    token = credential.get_token("https://management.azure.com/.default")
print(json.dumps({"token": token.token}))
"""
    token = python(compute, script, WAY=way)["token"]
    assert Wire(compute.server, token).get(hub_path(compute.server), VERSION).status_code == 200


def test_azure_ai_ml_reads_its_workspace_from_inside(compute, principal, sdk):
    script = """
import json
from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential
client = MLClient.from_config(DefaultAzureCredential())
workspace = client.workspaces.get(client.workspace_name)
print(json.dumps({"name": workspace.name, "location": workspace.location}))
"""
    assert python(compute, script)["name"] == "hub"


def test_the_api_is_trusted_inside(compute):
    done = compute.exec("sh", "-c", "curl -sS $BASTIDE_ENDPOINT/healthz")
    assert (done.returncode, done.stdout) == (0, b"ok"), done.stderr
    ask = "import os, urllib.request; print(urllib.request.urlopen(os.environ['BASTIDE_ENDPOINT'] + '/healthz').status)"
    assert compute.exec("python", "-c", ask).stdout == b"200\n"
