"""`az deployment group create`: hubs by templates of the kinds that are in public use (infrastructure-as-code.md)."""

from pathlib import Path

import pytest
from support import hub
from support.wire import WORKSPACES

TEMPLATES = Path(__file__).parents[1] / "templates"
# Storage, search: the roles in the templates, by the last part of their definitions' ids.
CONTRIBUTOR = "25fbc0a9-bd7c-42a3-aa1a-3b75d497ee68"
BLOBS = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
SEARCH = "7ca78c08-252a-4471-8644-bb5ff32d4ba0"


@pytest.fixture
def deploy(az, group):
    """Deploys a template of ours into the test's group; returns the outputs' values."""

    def deploy(template, *parameters):
        done = az.ok("deployment", "group", "create", "-g", group.rsplit("/", 1)[1], "-n", "hub",
                     "-f", str(TEMPLATES / f"{template}.json"), "-p", *parameters)  # fmt: skip
        assert done["properties"]["provisioningState"] == "Succeeded"
        return {name: output["value"] for name, output in done["properties"]["outputs"].items()}

    return deploy


@pytest.fixture
def get(wire):
    return lambda id: wire.get(id, WORKSPACES).json()


@pytest.fixture
def roles(wire):
    """Roles given on one resource itself, as pairs of principal and role."""

    def roles(scope):
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments"
        given = wire.get(path, "2022-04-01", params={"$filter": "atScope()"}).json()["value"]
        properties = [one["properties"] for one in given]
        own = [one for one in properties if one["scope"].lower() == scope.lower()]
        return {(one["principalId"], one["roleDefinitionId"].rsplit("/", 1)[1]) for one in own}

    return roles


@pytest.fixture
def snapshot(wire, group, get):
    """Everything in the group as it is, without the deployments' own records."""

    def snapshot():
        listed = wire.get(f"{group}/resources").json()["value"]
        return {one["id"]: get(one["id"]) for one in listed}

    return snapshot


def test_a_hub_with_all_that_it_stands_on_and_a_project(deploy, get, roles, wire):
    made = deploy("basic", "hubName=Demo", 'tags={"team": "red"}')
    shown = get(made["hubId"])
    properties = shown["properties"]
    assert (shown["kind"], shown["tags"]) == ("Hub", {"team": "red"})
    assert properties["description"] == "made by a template"
    assert properties["associatedWorkspaces"] == [made["projectId"]]
    for part in ("storageAccount", "keyVault", "applicationInsights", "containerRegistry"):
        assert get(properties[part])["id"] == properties[part]
    assert get(made["projectId"])["properties"]["storageAccount"] == properties["storageAccount"]
    (connection,) = wire.get(f"{made['hubId']}/connections", WORKSPACES).json()["value"]
    assert connection["properties"]["category"] == "AIServices"
    services = connection["properties"]["metadata"]["ResourceId"]
    assert connection["properties"]["target"] == get(services)["properties"]["endpoint"]
    assert roles(services) == {(shown["identity"]["principalId"], CONTRIBUTOR)}


def test_deploying_a_hub_again_changes_nothing(deploy, snapshot):
    first = deploy("basic", "hubName=demo")
    before = snapshot()
    assert deploy("basic", "hubName=demo") == first
    assert snapshot() == before


def test_a_hub_without_a_public_side(deploy, get, roles, wire, unique):
    made = deploy("restricted", f"hubName={unique('aih')}")
    shown = get(made["hubId"])
    properties = shown["properties"]
    assert properties["publicNetworkAccess"] == "Disabled"
    assert properties["systemDatastoresAuthMode"] == "Identity"
    assert properties["managedNetwork"]["isolationMode"] == "AllowInternetOutbound"
    assert properties["description"] == "nobody said"
    (connection,) = wire.get(f"{made['hubId']}/connections", WORKSPACES).json()["value"]
    search = connection["properties"]["metadata"]["ResourceId"]
    # Private endpoints lead to what is private, the hub itself included (mission.md H2), and to what is connected (K5).
    rules = properties["managedNetwork"]["outboundRules"].values()
    targets = {rule["destination"].get("serviceResourceId") for rule in rules if rule["type"] == "PrivateEndpoint"}
    assert targets == {properties["storageAccount"], properties["keyVault"], made["hubId"], search}
    principal = shown["identity"]["principalId"]
    assert made["hubPrincipalId"] == principal
    assert roles(properties["storageAccount"]) == {(principal, BLOBS)}
    assert connection["properties"]["authType"] == "AAD"
    assert roles(search) == {(principal, SEARCH)}


def test_the_same_hub_with_keys_instead_of_roles(deploy, roles, wire, unique):
    made = deploy("restricted", f"hubName={unique('aih')}", "connectionAuthMode=ApiKey",
                  "systemDatastoresAuthMode=accesskey", "description=said")  # fmt: skip
    (connection,) = wire.get(f"{made['hubId']}/connections", WORKSPACES).json()["value"]
    assert connection["properties"]["authType"] == "ApiKey"
    assert "credentials" not in connection["properties"]
    assert roles(connection["properties"]["metadata"]["ResourceId"]) == set()


def test_a_hub_with_a_key_of_its_owner(deploy, get, wire, group, unique):
    storage, vault = (hub.associated(wire, group, unique, kind) for kind in ("storage", "vault"))
    uri = f"{vault['properties']['vaultUri']}keys/hub/{'1' * 32}"
    made = deploy("encrypted", f"hubName={unique('aih')}", f"storageId={storage['id']}", f"vaultId={vault['id']}",
                  f"cmk_keyvault_id={vault['id']}", f"cmk_keyvault_key_uri={uri}")  # fmt: skip
    encryption = get(made["hubId"])["properties"]["encryption"]
    assert encryption["status"] == "Enabled"
    assert encryption["keyVaultProperties"]["keyIdentifier"] == uri
    (endpoint,) = wire.get(f"{made['hubId']}/endpoints", "2023-08-01-preview").json()["value"]
    assert endpoint["properties"]["endpointType"] == "Azure.OpenAI"


def test_what_if_says_that_nothing_would_change(az, deploy, group):
    """A second plan is empty."""
    deploy("basic", "hubName=demo")
    foretold = az.ok("deployment", "group", "what-if", "-g", group.rsplit("/", 1)[1], "--no-pretty-print",
                     "-f", str(TEMPLATES / "basic.json"), "-p", "hubName=demo")  # fmt: skip
    changed = [change for change in foretold["changes"] if change["changeType"] not in ("NoChange", "Ignore")]
    assert changed == []
