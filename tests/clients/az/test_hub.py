"""Hubs by the core of az, which has no command of its own for them: `az resource` and `az rest`."""

import json

import pytest
from support import hub
from support.secrets import SECRETS

WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
VERSION = ["--api-version", "2024-10-01-preview"]
CANARY = "canary-of-a-connection-by-rest"


@pytest.fixture
def name(unique):
    return unique("hub")


@pytest.fixture
def group(bastide, rg):
    return f"{bastide.subscription}/resourceGroups/{rg}"


@pytest.fixture
def create(az, rg):
    def create(name, kind="Hub", **properties):
        body = json.dumps(hub.body(kind, **properties))
        return az.ok("resource", "create", "-g", rg, "-n", name, "--resource-type", WORKSPACE, "--is-full-object",
                     "-p", body, *VERSION)  # fmt: skip

    return create


@pytest.fixture
def rest(az):
    """`az rest` on a path below the management endpoint."""

    def rest(method, path, body=None):
        return az.run(
            "rest", "--method", method, "--url", f"{path}?api-version=2024-10-01-preview",
            *(["--body", json.dumps(body)] if body is not None else []),
        )  # fmt: skip

    return rest


def test_a_hub_is_updated_by_reading_changing_and_putting_it(az, create, name):
    made = create(name, friendlyName="First")
    changed = az.ok("resource", "update", "--ids", made["id"], "--set", "properties.friendlyName=Second",
                    "properties.description=by az", *VERSION)  # fmt: skip
    assert (changed["properties"]["friendlyName"], changed["properties"]["description"]) == ("Second", "by az")
    for kept in ("workspaceId", "storageAccount", "publicNetworkAccess", "managedNetwork"):
        assert changed["properties"].get(kept) == made["properties"].get(kept)
    assert changed["identity"] == made["identity"]


def test_a_hub_is_patched(az, create, name):
    made = create(name)
    body = '{"properties": {"publicNetworkAccess": "Disabled"}}'
    patched = az.ok("resource", "patch", "--ids", made["id"], "--is-full-object", "-p", body, *VERSION)
    assert patched["properties"]["publicNetworkAccess"] == "Disabled"
    assert patched["properties"]["friendlyName"] == made["properties"]["friendlyName"]


def test_a_project_is_created_and_both_are_listed(az, rg, create, name, unique):
    made = create(name)
    project = unique("project")
    create(project, "Project", hubResourceId=made["id"])
    listed = az.ok("resource", "list", "-g", rg, "--resource-type", WORKSPACE, "--query", "[].name")
    assert {name, project} <= set(listed)
    az.ok("resource", "delete", "--ids", made["id"], *VERSION)
    for gone in (name, project):
        assert az.run("resource", "show", "-g", rg, "-n", gone, "--resource-type", WORKSPACE, *VERSION).code == 3


def test_actions_are_invoked(az, create, rest, name, wire, group, unique):
    """`az resource` reads answers as resources and shows nothing else of them, `az rest` shows all."""
    storage = hub.associated(wire, group, unique, "storage")["id"]
    made = create(name, storageAccount=storage)
    for action in ("listKeys", "resyncKeys"):
        done = az.run("resource", "invoke-action", "--action", action, "--ids", made["id"], *VERSION)
        assert done.code == 0, done
    assert rest("post", f"{made['id']}/listKeys").json["userStorageArmId"] == storage
    found = rest("post", f"{made['id']}/diagnose", {"value": {}}).json["value"]
    assert found["storageAccountResults"] == []


def test_the_managed_network_of_a_hub_by_rest(create, rest, name):
    """What `az ml` would send, by hand (wire-az-cli.md section 6)."""
    made = create(name, managedNetwork={"isolationMode": "allow_only_approved_outbound"})["id"]
    rule = {"properties": {"type": "FQDN", "destination": "pypi.org", "category": "UserDefined"}}
    assert rest("put", f"{made}/outboundRules/pypi", rule).json["properties"]["destination"] == "pypi.org"
    listed = {one["name"]: one for one in rest("get", f"{made}/outboundRules").json["value"]}
    assert listed["pypi"]["properties"]["category"] == "UserDefined"
    provisioned = rest("post", f"{made}/provisionManagedNetwork", {"includeSpark": False})
    assert provisioned.code == 0, provisioned
    assert rest("delete", f"{made}/outboundRules/pypi").code == 0
    gone = rest("get", f"{made}/outboundRules/pypi")
    assert gone.code == 1 and "ResourceNotFound" in gone.stderr


def test_a_rule_is_a_resource(az, rg, create, name):
    create(name, managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound"})
    of = ["-g", rg, "--resource-type", "outboundRules", "--parent", f"workspaces/{name}",
          "--namespace", "Microsoft.MachineLearningServices", "-n", "pypi", *VERSION]  # fmt: skip
    rule = {"type": "FQDN", "destination": "pypi.org"}
    made = az.ok("resource", "create", *of, "-p", json.dumps(rule))
    assert made["properties"]["destination"] == "pypi.org"
    az.ok("resource", "delete", *of)
    assert az.run("resource", "show", *of).code == 3


def test_a_connection_by_rest_keeps_its_key(create, rest, name):
    SECRETS.add(CANARY)
    made = create(name)["id"]
    body = {"properties": {"category": "CustomKeys", "authType": "CustomKeys", "target": "x",
                           "credentials": {"keys": {"one": CANARY}}}}  # fmt: skip
    answer = rest("put", f"{made}/connections/mine", body)
    assert answer.code == 0 and CANARY not in answer.stdout
    assert CANARY not in rest("get", f"{made}/connections").stdout
    told = rest("post", f"{made}/connections/mine/listsecrets").json
    assert told["properties"]["credentials"] == {"keys": {"one": CANARY}}


def test_a_refusal_is_printed_with_its_sentence(az, rg, rest, group, name):
    """`az rest` prints the whole error, `az resource` its code and sentence."""
    bad = hub.body(publicNetworkAccess="Sometimes")
    result = rest("put", f"{group}/{hub.KIND}/{name}", bad)
    assert result.code == 1 and "publicNetworkAccess" in result.stderr, result
    message = az.run("resource", "create", "-g", rg, "-n", name, "--resource-type", WORKSPACE, "--is-full-object",
                     "-p", json.dumps(bad), *VERSION).failed("ValidationError")  # fmt: skip
    assert "Sometimes" in message
