"""Tenants, subscriptions, locations and providers on the wire."""

import uuid

from support import login
from support.wire import GROUPS, SUBSCRIPTIONS, Wire, refused


def test_a_tenant_has_the_fields_that_az_reads(wire, bastide):
    (tenant,) = wire.get("/tenants", SUBSCRIPTIONS).json()["value"]
    assert tenant["id"] == f"/tenants/{bastide.bootstrap.tenant_id}"
    assert tenant["tenantId"] == bastide.bootstrap.tenant_id
    assert tenant["displayName"] and tenant["defaultDomain"]


def test_a_subscription_has_the_fields_that_az_reads(wire, bastide):
    (subscription,) = wire.get("/subscriptions", SUBSCRIPTIONS).json()["value"]
    assert subscription["id"] == bastide.subscription
    assert subscription["subscriptionId"] == bastide.bootstrap.subscription_id
    assert subscription["tenantId"] == bastide.bootstrap.tenant_id
    assert subscription["state"] == "Enabled"
    assert subscription["managedByTenants"] == []
    assert subscription["displayName"]
    alone = wire.get(bastide.subscription, SUBSCRIPTIONS).json()
    assert alone["subscriptionId"] == bastide.bootstrap.subscription_id


def test_locations_have_the_fields_that_az_reads(wire, bastide):
    locations = wire.get(f"{bastide.subscription}/locations", SUBSCRIPTIONS).json()["value"]
    names = [location["name"] for location in locations]
    assert {"westus", "eastus", "local"} <= set(names)
    assert len(names) == len(set(names))
    for location in locations:
        assert location["id"] == f"{bastide.subscription}/locations/{location['name']}"
        assert location["displayName"] and location["regionalDisplayName"]
        assert location["metadata"]["regionType"] in ("Physical", "Logical")


def test_a_provider_names_its_types_for_az_to_choose_a_version(wire, bastide):
    """Without --api-version az takes the newest stable one listed here."""
    provider = wire.get(f"{bastide.subscription}/providers/microsoft.machinelearningservices", GROUPS).json()
    assert provider["namespace"] == "Microsoft.MachineLearningServices"
    assert provider["registrationState"] == "Registered"
    kinds = {kind["resourceType"]: kind for kind in provider["resourceTypes"]}
    assert kinds["workspaces"]["apiVersions"] == sorted(kinds["workspaces"]["apiVersions"], reverse=True) or any(
        not version.endswith("preview") for version in kinds["workspaces"]["apiVersions"]
    )
    assert any(not version.endswith("preview") for version in kinds["workspaces"]["apiVersions"])
    assert kinds["workspaces"]["locations"]


def test_an_unregistered_provider_refuses_new_resources_until_registered(wire, bastide, group):
    """409 MissingSubscriptionRegistration is what az turns into a registration of its own."""
    provider = f"{bastide.subscription}/providers/Microsoft.ManagedIdentity"
    resource = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/late"
    assert wire.post(f"{provider}/register").json()["registrationState"] == "Registered"
    assert wire.put(resource, {"location": "westus"}, "2024-11-30").status_code == 201


def test_a_namespace_nobody_implements_is_not_found(wire, bastide):
    for path in (f"{bastide.subscription}/providers/Example.Castles", "/providers/Example.Castles"):
        refused(wire.get(path), 404, "InvalidResourceNamespace")
    refused(wire.post(f"{bastide.subscription}/providers/Example.Castles/register"), 404, "InvalidResourceNamespace")


def test_more_subscriptions_can_be_made_and_are_apart(start_bastide):
    """By the admin, who owns the tenant; in a Bastide of its own, because the other tests count subscriptions."""
    bastide = start_bastide()
    wire = Wire(bastide, login.admin_token(bastide))
    answer = wire.put(
        "/providers/Microsoft.Subscription/aliases/second",
        {"properties": {"displayName": "Second", "workload": "Production"}}, "2021-10-01",
    )  # fmt: skip
    assert answer.status_code in (200, 201), answer.text
    made = answer.json()["properties"]["subscriptionId"]
    assert uuid.UUID(made) and made != bastide.bootstrap.subscription_id
    listed = [subscription["subscriptionId"] for subscription in wire.get("/subscriptions").json()["value"]]
    assert sorted(listed) == sorted([made, bastide.bootstrap.subscription_id])
    here, there = f"{bastide.subscription}/resourceGroups/same", f"/subscriptions/{made}/resourceGroups/same"
    assert wire.put(here, {"location": "westus"}).status_code == 201
    assert wire.head(there).status_code == 404
    assert wire.put(there, {"location": "eastus"}).status_code == 201
    wire.delete(here)
    assert wire.get(there).json()["location"] == "eastus"
