"""`az identity`: user-assigned identities."""

import json
import uuid

import pytest


@pytest.fixture(scope="module")
def group(az, unique):
    name = unique("identities")
    az.ok("group", "create", "-n", name, "-l", "westus")
    return name


def test_an_identity_is_somebody(az, bastide, group, unique):
    name = unique("id")
    created = az.ok("identity", "create", "-g", group, "-n", name, "--tags", "team=red")
    assert created["name"] == name
    assert created["type"] == "Microsoft.ManagedIdentity/userAssignedIdentities"
    assert created["location"] == "westus"
    assert created["resourceGroup"] == group
    assert created["tags"] == {"team": "red"}
    assert created["tenantId"] == bastide.bootstrap.tenant_id
    assert uuid.UUID(created["principalId"]) != uuid.UUID(created["clientId"])
    assert az.ok("identity", "show", "-g", group, "-n", name) == created


def test_creating_an_identity_again_keeps_who_it_is(az, group, unique):
    name = unique("id")
    first = az.ok("identity", "create", "-g", group, "-n", name)
    second = az.ok("identity", "create", "-g", group, "-n", name, "--tags", "again=yes")
    assert (second["principalId"], second["clientId"]) == (first["principalId"], first["clientId"])
    assert second["tags"] == {"again": "yes"}


def test_identities_are_listed_by_group_and_by_subscription(az, group, unique):
    name = unique("id")
    created = az.ok("identity", "create", "-g", group, "-n", name)
    assert created["id"] in [identity["id"] for identity in az.ok("identity", "list", "-g", group)]
    assert created["id"] in [identity["id"] for identity in az.ok("identity", "list")]
    assert az.ok("identity", "list", "-g", group, "--query", f"[?name=='{name}'].name") == [name]


def test_an_identity_says_who_carries_it(az, group, unique):
    name, carrier = unique("id"), unique("search")
    identity = az.ok("identity", "create", "-g", group, "-n", name)["id"]
    body = json.dumps({"location": "westus", "sku": {"name": "basic"},
                       "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}})  # fmt: skip
    service = f"{identity.rsplit('/', 3)[0].removesuffix('/Microsoft.ManagedIdentity')}/Microsoft.Search/searchServices/{carrier}"
    az.ok("rest", "--method", "put", "--url", f"{service}?api-version=2025-05-01", "--body", body)
    listed = az.ok("identity", "list-resources", "-g", group, "-n", name)
    assert [one["name"] for one in listed] == [carrier]


def test_an_identity_is_deleted(az, group, unique):
    name = unique("id")
    az.ok("identity", "create", "-g", group, "-n", name)
    az.ok("identity", "delete", "-g", group, "-n", name)
    az.run("identity", "show", "-g", group, "-n", name).failed("ResourceNotFound", exit_code=3)


def test_deleting_what_is_not_there_succeeds(az, group):
    az.ok("identity", "delete", "-g", group, "-n", "nobody-made-this")


def test_an_identity_needs_its_group(az):
    az.run("identity", "create", "-g", "nobody-made-this", "-n", "someone", "-l", "westus").failed(
        "ResourceGroupNotFound", exit_code=3
    )


def test_a_federated_credential_is_stored(az, group, unique):
    name = unique("id")
    az.ok("identity", "create", "-g", group, "-n", name)
    credential = ["identity", "federated-credential"]
    az.ok(*credential, "create", "-g", group, "--identity-name", name, "-n", "github", "--issuer",
          "https://issuer.example", "--subject", "repo:a/b", "--audiences", "api://bastide")  # fmt: skip
    assert az.ok(*credential, "list", "-g", group, "--identity-name", name, "--query", "[].name") == ["github"]
