"""`az network private-endpoint-connection`: the targets of a hub's private endpoints decide about them (mission.md K5-K13)."""

import json

import pytest

CONNECTION = ("network", "private-endpoint-connection")


@pytest.fixture(scope="module")
def hub(az, rg, unique):
    """The id of an approved-only hub."""
    name = unique("peh")
    group = az.ok("group", "show", "-n", rg)["id"]
    hub = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{name}"
    body = {"location": "westus", "kind": "Hub", "properties": {"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}}}
    az.ok("rest", "--method", "put", "--url", f"{hub}?api-version=2024-10-01", "--body", json.dumps(body))
    return hub


def lead(az, hub: str, name: str, target: str, subresource: str) -> dict:
    destination = {"serviceResourceId": target, "subresourceTarget": subresource, "sparkEnabled": False}
    body = json.dumps({"properties": {"type": "PrivateEndpoint", "destination": destination}})
    return az.ok("rest", "--method", "put", "--url", f"{hub}/outboundRules/{name}?api-version=2024-10-01", "--body", body)


def test_an_account_approves_rejects_and_removes(az, rg, hub, unique):
    name = unique("pea").replace("-", "")
    account = az.ok("storage", "account", "create", "-g", rg, "-n", name, "-l", "westus")["id"]
    assert "blob" in az.ok("network", "private-link-resource", "list", "--id", account, "--query", "[].properties.groupId")
    lead(az, hub, "lake", account, "blob")
    (listed,) = az.ok(*CONNECTION, "list", "--id", account)
    assert listed["properties"]["groupIds"] == ["blob"]
    assert listed["properties"]["privateEndpoint"]["id"] == f"{hub}/outboundRules/lake"
    for verb, status in (("approve", "Approved"), ("reject", "Rejected")):
        decided = az.ok(*CONNECTION, verb, "--id", listed["id"], "--description", "by the account's owner")
        state = decided["properties"]["privateLinkServiceConnectionState"]
        assert (state["status"], state["description"]) == (status, "by the account's owner")
    shown = az.ok("storage", "account", "show", "-g", rg, "-n", name)
    assert shown["privateEndpointConnections"][0]["privateLinkServiceConnectionState"]["status"] == "Rejected"
    az.ok(*CONNECTION, "delete", "--id", listed["id"], "--yes")
    state = az.ok(*CONNECTION, "show", "--id", listed["id"])["properties"]["privateLinkServiceConnectionState"]
    assert state["status"] == "Disconnected"


def test_a_service_of_ones_own_is_declared_by_template_words(az, rg, hub, unique):
    name = unique("ext")
    group = az.ok("group", "show", "-n", rg)["id"]
    service = f"{group}/providers/Bastide.Network/externalServices/{name}"
    properties = json.dumps({"target": "db.example.lan:5432", "description": "the accounts"})
    made = az.ok("resource", "create", "--id", service, "--api-version", "2026-11-01", "--properties", properties)
    assert made["properties"]["privateFqdn"] == f"{name}.external.bastide.internal"
    assert lead(az, hub, "ledger", service, "tcp")["properties"]["destination"]["subresourceTarget"] == "tcp"
    url = f"{service}?api-version=2026-11-01"
    refused = az.run("rest", "--method", "delete", "--url", url)
    assert refused.code != 0 and "outboundRules/ledger" in refused.stderr
