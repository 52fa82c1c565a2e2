"""`az resource`: any type by its name, as scripts use it."""

import json

import pytest

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
WORKSPACE = "Microsoft.MachineLearningServices/workspaces"


@pytest.fixture(scope="module")
def group(az, unique):
    name = unique("resources")
    az.ok("group", "create", "-n", name, "-l", "westus")
    return name


@pytest.fixture
def name(unique):
    return unique("res")


@pytest.fixture
def make(az, group):
    def create(name, *arguments, kind=IDENTITY):
        return az.ok("resource", "create", "-g", group, "-n", name, "--resource-type", kind, "-p", "{}", *arguments)

    return create


def test_a_resource_is_created_in_the_location_of_its_group(az, bastide, group, make, name):
    """az asks for the group's location when none is given, and sends a path with a double slash."""
    created = make(name)
    assert created["id"] == f"{bastide.subscription}/resourceGroups/{group}/providers/{IDENTITY}/{name}"
    assert created["name"] == name
    assert created["type"] == IDENTITY
    assert created["location"] == "westus"
    for field in ("principalId", "clientId", "tenantId"):
        assert created["properties"][field]
    assert az.ok("resource", "show", "-g", group, "-n", name, "--resource-type", IDENTITY) == created
    assert az.ok("resource", "show", "--ids", created["id"]) == created


def test_a_hub_is_created_from_a_full_object(az, bastide, group, name):
    body = {
        "location": "westus",
        "kind": "Hub",
        "identity": {"type": "SystemAssigned"},
        "sku": {"name": "Basic", "tier": "Basic"},
        "properties": {"friendlyName": "The hub", "description": "for tests"},
    }
    created = az.ok(
        "resource", "create", "-g", group, "-n", name, "--resource-type", WORKSPACE,
        "--is-full-object", "-p", json.dumps(body), "--api-version", "2025-12-01",
    )  # fmt: skip
    assert created["id"] == f"{bastide.subscription}/resourceGroups/{group}/providers/{WORKSPACE}/{name}"
    assert created["kind"] == "Hub"
    assert created["properties"]["friendlyName"] == "The hub"
    assert created["properties"]["provisioningState"] == "Succeeded"
    assert created["properties"]["workspaceId"]
    assert created["identity"]["type"] == "SystemAssigned"
    assert created["identity"]["tenantId"] == bastide.bootstrap.tenant_id
    principal = created["identity"]["principalId"]
    again = az.ok("resource", "show", "--ids", created["id"], "--api-version", "2025-12-01")
    assert again["identity"]["principalId"] == principal


def test_a_hub_keeps_its_identity_through_an_update(az, group, name):
    body = {"location": "westus", "kind": "Hub", "identity": {"type": "SystemAssigned"}, "properties": {}}
    created = az.ok("resource", "create", "-g", group, "-n", name, "--resource-type", WORKSPACE, "--is-full-object",
                    "-p", json.dumps(body))  # fmt: skip
    updated = az.ok("resource", "update", "--ids", created["id"], "--set", "properties.description=changed")
    assert updated["properties"]["description"] == "changed"
    assert updated["identity"]["principalId"] == created["identity"]["principalId"]
    assert updated["properties"]["workspaceId"] == created["properties"]["workspaceId"]


def test_a_hub_is_patched_and_the_rest_of_it_stays(az, group, name):
    body = {"location": "westus", "kind": "Hub", "properties": {"friendlyName": "before", "description": "stays"}}
    created = az.ok("resource", "create", "-g", group, "-n", name, "--resource-type", WORKSPACE, "--is-full-object",
                    "-p", json.dumps(body))  # fmt: skip
    az.ok("resource", "patch", "--ids", created["id"], "--is-full-object", "-p",
          json.dumps({"properties": {"friendlyName": "after"}}))  # fmt: skip
    patched = az.ok("resource", "show", "--ids", created["id"])
    assert patched["properties"]["friendlyName"] == "after"
    assert patched["properties"]["description"] == "stays"


def test_tags_are_replaced_by_a_put_of_what_was_read(az, make, name):
    """`az resource tag` is GET, change, PUT: the body carries every read-only field."""
    created = make(name)
    tagged = az.ok("resource", "tag", "--ids", created["id"], "--tags", "team=blue", "stage=test")
    assert tagged["tags"] == {"team": "blue", "stage": "test"}
    assert tagged["properties"] == created["properties"]
    added = az.ok("resource", "tag", "--ids", created["id"], "--tags", "more=yes", "-i")
    assert added["tags"] == {"team": "blue", "stage": "test", "more": "yes"}
    assert az.ok("resource", "show", "--ids", created["id"])["tags"] == added["tags"]


def test_resources_are_listed_by_group_type_name_and_tag(az, make, group, unique):
    first, second = unique("red"), unique("blue")
    make(first)
    make(second)
    az.ok("resource", "tag", "-g", group, "-n", first, "--resource-type", IDENTITY, "--tags", f"colour={first}")

    def names(*filters):
        return sorted(resource["name"] for resource in az.ok("resource", "list", *filters))

    assert {first, second} <= set(names("--resource-group", group))
    assert {first, second} <= set(names("--resource-type", IDENTITY))
    assert names("--resource-type", IDENTITY.upper(), "--name", first) == [first]
    assert names("--name", second) == [second]
    assert names("--tag", f"colour={first}") == [first]
    assert first in names("--tag", "colour")
    assert names("--resource-group", group, "--name", first, "--resource-type", IDENTITY) == [first]
    assert names("--name", "nobody-made-this") == []
    az.run("resource", "list", "--resource-group", "nobody-made-this").failed("ResourceGroupNotFound", exit_code=3)


def test_a_listed_resource_has_its_dates_and_its_group(az, make, group, name):
    created = make(name)
    (listed,) = az.ok("resource", "list", "--name", name)
    assert listed["id"] == created["id"]
    assert listed["type"] == IDENTITY
    assert listed["resourceGroup"] == group
    assert listed["createdTime"] and listed["changedTime"]
    assert listed["provisioningState"] == "Succeeded"


def test_a_deleted_resource_is_gone(az, make, name):
    created = make(name)
    az.ok("resource", "delete", "--ids", created["id"])
    az.run("resource", "show", "--ids", created["id"]).failed("ResourceNotFound", exit_code=3)


def test_an_identity_made_again_is_somebody_else(az, make, name):
    before = make(name)
    az.ok("resource", "delete", "--ids", before["id"])
    after = make(name)
    assert after["properties"]["principalId"] != before["properties"]["principalId"]
    assert after["properties"]["clientId"] != before["properties"]["clientId"]


def test_a_type_nobody_implements_is_not_stored(az, group):
    message = az.run(
        "resource", "create", "-g", group, "-n", "thing", "--api-version", "2024-01-01",
        "--resource-type", "Microsoft.MachineLearningServices/castles", "-p", "{}", "-l", "westus",
    ).failed("InvalidResourceType", exit_code=3)  # fmt: skip
    assert "castles" in message
    assert "thing" not in [resource["name"] for resource in az.ok("resource", "list")]


def test_a_namespace_nobody_implements_is_named_in_the_refusal(az, group):
    message = az.run(
        "resource", "create", "-g", group, "-n", "thing", "--api-version", "2024-01-01",
        "--resource-type", "Example.Castles/keeps", "-p", "{}", "-l", "westus",
    ).failed("InvalidResourceNamespace", exit_code=3)  # fmt: skip
    assert "Example.Castles" in message


def test_without_an_api_version_az_asks_the_provider_for_one(az, make, group, name):
    make(name)
    shown = az.ok("resource", "show", "-g", group, "-n", name, "--resource-type", IDENTITY)
    assert shown["name"] == name


def test_a_resource_in_a_group_that_is_not_there_names_the_group(az):
    message = az.run(
        "resource", "create", "-g", "nobody-made-this", "-n", "thing", "--resource-type", IDENTITY, "-p", "{}",
        "-l", "westus", "--api-version", "2025-05-31-preview",
    ).failed("ResourceGroupNotFound", exit_code=3)  # fmt: skip
    assert "nobody-made-this" in message


def test_waiting_for_a_resource_ends_when_it_is_there(az, make, name):
    created = make(name)
    az.ok("resource", "wait", "--ids", created["id"], "--created", "--interval", "1", "--timeout", "10")
    az.ok("resource", "delete", "--ids", created["id"])
    az.ok("resource", "wait", "--ids", created["id"], "--deleted", "--interval", "1", "--timeout", "10")
