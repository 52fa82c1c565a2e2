"""Hubs on the wire, as far as this stage goes: create, read, list, update, delete, and an identity that stays."""

import uuid

import pytest
from support.wire import WORKSPACES, refused

KIND = "providers/Microsoft.MachineLearningServices/workspaces"
HUB = {"location": "westus", "kind": "Hub", "properties": {"friendlyName": "A hub"}}


@pytest.fixture
def path(group, unique):
    return f"{group}/{KIND}/{unique('hub')}"


def test_a_hub_is_whole_in_the_first_answer(wire, path, bastide):
    hub = wire.put(path, HUB, WORKSPACES).json()
    assert hub["id"] == path
    assert hub["type"] == "Microsoft.MachineLearningServices/workspaces"
    assert hub["kind"] == "Hub"
    assert hub["properties"]["provisioningState"] == "Succeeded"
    assert hub["properties"]["tenantId"] == bastide.bootstrap.tenant_id
    assert uuid.UUID(hub["properties"]["workspaceId"])
    assert hub["properties"]["friendlyName"] == "A hub"
    assert hub["identity"]["type"] == "SystemAssigned"
    assert uuid.UUID(hub["identity"]["principalId"])
    assert hub["identity"]["tenantId"] == bastide.bootstrap.tenant_id
    assert wire.get(path, WORKSPACES).json() == hub


def test_nothing_is_claimed_that_is_not_done(wire, path):
    """Stored only: no data plane yet, so the answer says so and no network is called active."""
    hub = wire.put(path, HUB, WORKSPACES).json()
    assert "none" in str(hub.get("bastide") or hub["properties"].get("bastide"))
    status = hub["properties"].get("managedNetwork", {}).get("status", {}).get("status", "Inactive")
    assert status == "Inactive"


def test_the_identity_survives_every_update(wire, path):
    first = wire.put(path, HUB, WORKSPACES).json()
    wire.put(path, {**HUB, "tags": {"a": "1"}}, WORKSPACES)
    wire.patch(path, {"properties": {"description": "changed"}}, WORKSPACES)
    again = wire.put(path, wire.get(path, WORKSPACES).json(), WORKSPACES).json()
    assert again["identity"]["principalId"] == first["identity"]["principalId"]
    assert again["properties"]["workspaceId"] == first["properties"]["workspaceId"]


def test_a_hub_made_again_is_another_one(wire, path):
    first = wire.put(path, HUB, WORKSPACES).json()
    assert wire.delete(path, WORKSPACES).status_code in (200, 202)
    second = wire.put(path, HUB, WORKSPACES).json()
    assert second["identity"]["principalId"] != first["identity"]["principalId"]
    assert second["properties"]["workspaceId"] != first["properties"]["workspaceId"]


@pytest.mark.parametrize(
    ("given", "kept"), [("Hub", "Hub"), ("hub", "Hub"), ("HUB", "Hub"), ("Default", "Default"), (None, "Default")]
)
def test_a_kind_is_read_in_any_case(wire, path, given, kept):
    body = {key: value for key, value in {**HUB, "kind": given}.items() if value is not None}
    assert wire.put(path, body, WORKSPACES).json()["kind"] == kept


def test_the_kind_and_the_hub_of_a_workspace_are_fixed(wire, path, group, unique):
    hub = wire.put(path, HUB, WORKSPACES).json()["id"]
    assert wire.put(path, {**HUB, "kind": "Default"}, WORKSPACES).status_code == 400
    project = f"{group}/{KIND}/{unique('project')}"
    body = {"location": "westus", "kind": "Project", "properties": {"hubResourceId": hub}}
    assert wire.put(project, body, WORKSPACES).json()["kind"] == "Project"
    other = f"{group}/{KIND}/{unique('hub')}"
    wire.put(other, HUB, WORKSPACES)
    body["properties"]["hubResourceId"] = other
    assert wire.put(project, body, WORKSPACES).status_code == 400


def test_a_project_needs_a_hub_that_is_there(wire, path, group):
    body = {"location": "westus", "kind": "Project", "properties": {"hubResourceId": f"{group}/{KIND}/none"}}
    answer = wire.put(path, body, WORKSPACES)
    assert 400 <= answer.status_code < 500
    assert wire.get(path, WORKSPACES).status_code == 404


def test_user_assigned_identities_are_given_by_id_and_answered_with_theirs(wire, path, group):
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/helper"
    helper = wire.put(identity, {"location": "westus"}, "2025-05-31-preview").json()
    body = {**HUB, "identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {identity: {}}}}
    hub = wire.put(path, body, WORKSPACES).json()
    assert hub["identity"]["type"] == "SystemAssigned,UserAssigned"
    (given,) = hub["identity"]["userAssignedIdentities"].values()
    assert given == {key: helper["properties"][key] for key in ("principalId", "clientId")}


def test_an_identity_that_is_not_there_cannot_be_assigned(wire, path, group):
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nobody"
    body = {**HUB, "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    answer = wire.put(path, body, WORKSPACES)
    assert 400 <= answer.status_code < 500
    assert wire.get(path, WORKSPACES).status_code == 404


def test_hubs_are_listed_by_group_and_subscription_and_kind(wire, path, group, bastide):
    wire.put(path, HUB, WORKSPACES)
    for scope in (group, bastide.subscription):
        listing = wire.get(f"{scope}/{KIND}", WORKSPACES).json()["value"]
        assert path in [hub["id"] for hub in listing]
    assert path in [
        hub["id"] for hub in wire.get(f"{group}/{KIND}", WORKSPACES, params={"kind": "Hub"}).json()["value"]
    ]
    assert wire.get(f"{group}/{KIND}", WORKSPACES, params={"kind": "Project"}).json()["value"] == []


def test_a_property_of_the_wrong_type_is_named(wire, path):
    for change in (
        {"friendlyName": 1},
        {"description": []},
        {"publicNetworkAccess": "Sometimes"},
        {"hubResourceId": "nonsense"},
    ):
        answer = wire.put(path, {**HUB, "properties": change}, WORKSPACES)
        assert answer.status_code == 400
        assert next(iter(change)) in (answer.json()["error"].get("target") or answer.json()["error"]["message"])
    assert wire.get(path, WORKSPACES).status_code == 404


def test_projects_go_with_their_hub(wire, path, group, unique):
    hub = wire.put(path, HUB, WORKSPACES).json()["id"]
    project = f"{group}/{KIND}/{unique('project')}"
    wire.put(project, {"location": "westus", "kind": "Project", "properties": {"hubResourceId": hub}}, WORKSPACES)
    assert wire.delete(path, WORKSPACES).status_code == 200
    for gone in (path, project):
        assert wire.get(gone, WORKSPACES).status_code == 404


def test_a_child_nobody_implements_is_said_to_be_one(wire, path):
    wire.put(path, HUB, WORKSPACES)
    answer = wire.get(f"{path}/castles", WORKSPACES)
    assert answer.status_code in (404, 405)
    refused(wire.put(f"{path}/castles/one", {"properties": {}}, WORKSPACES), 404, "InvalidResourceType")
