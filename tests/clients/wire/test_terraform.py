"""The call sequences of Terraform's azurerm and azapi providers (infrastructure-as-code.md section 5), by hand.

The providers cannot be had here; what they send and what they check can. A second plan must be empty.
"""

import pytest
from support import hub
from support.wire import refused

AZURERM = "2025-06-01"
AZAPI = "2024-10-01-preview"


@pytest.fixture
def path(group, unique):
    return f"{group}/{hub.KIND}/{unique('hub')}"


@pytest.fixture
def parts(wire, group, unique):
    """What an azurerm hub always names."""
    return {
        "storageAccount": hub.associated(wire, group, unique, "storage")["id"],
        "keyVault": hub.associated(wire, group, unique, "vault")["id"],
    }


@pytest.fixture
def apply(wire):
    """Creates as the providers do: GET says 404, PUT says what it may, GET reads the state."""

    def apply(path, body, version, statuses=(200, 202)):
        refused(wire.get(path, version), 404, "ResourceNotFound")
        made = wire.put(path, body, version)
        assert made.status_code in statuses, made.text
        return wire.get(path, version).json()

    return apply


def without_times(shown):
    return {name: value for name, value in shown.items() if name not in ("systemData", "etag")}


def ai_foundry(parts, **properties):
    """azurerm_ai_foundry: a hub."""
    return {
        "location": "westus", "kind": "Hub", "tags": {"env": "test"},
        "identity": {"type": "SystemAssigned"},
        "properties": {"publicNetworkAccess": "Enabled", **parts, **properties},
    }  # fmt: skip


def test_a_hub_is_created_and_the_second_plan_is_empty(wire, path, parts, apply):
    body = ai_foundry(parts, managedNetwork={"isolationMode": "AllowInternetOutbound"})
    shown = apply(path, body, AZURERM)
    # What the provider reads without asking whether it is there, and parses letter by letter.
    assert shown["properties"]["publicNetworkAccess"] == "Enabled"
    for part, id in parts.items():
        assert shown["properties"][part] == id
    assert "/providers/Microsoft.Storage/storageAccounts/" in shown["properties"]["storageAccount"]
    assert "/providers/Microsoft.KeyVault/vaults/" in shown["properties"]["keyVault"]
    assert shown["kind"] == "Hub" and shown["location"] == "westus" and shown["tags"] == {"env": "test"}
    assert wire.get(path, AZURERM).json() == shown


def test_what_was_read_is_put_back_and_changes_nothing(wire, path, parts, apply):
    """azurerm's update puts the body it read, with status, ids and provisioningState in it."""
    rule = {"type": "FQDN", "category": "UserDefined", "destination": "pypi.org"}
    shown = apply(
        path,
        ai_foundry(
            parts, managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": {"r01": rule}}
        ),
        AZURERM,
    )
    again = wire.put(path, shown, AZURERM)
    assert again.status_code == 200, again.text
    after = wire.get(path, AZURERM).json()
    assert after == shown, "not even the time of the last change"


def test_another_state_than_the_servers_is_not_taken(wire, path, parts, apply):
    """RPC: a provisioningState equal to the server's is passed over, a different one is refused."""
    shown = apply(path, ai_foundry(parts), AZURERM)
    shown["properties"]["provisioningState"] = "Failed"
    answer = wire.put(path, shown, AZURERM)
    assert answer.status_code in (200, 400)
    assert wire.get(path, AZURERM).json()["properties"]["provisioningState"] == "Succeeded"


def test_an_update_of_the_mode_alone_keeps_the_rules(wire, path, parts, apply):
    """In Terraform rules are resources beside the hub; the hub's update sends {isolationMode} and nothing more."""
    network = {"isolationMode": "AllowOnlyApprovedOutbound"}
    shown = apply(path, ai_foundry(parts, managedNetwork=network), AZURERM)
    rule = {"properties": {"type": "FQDN", "category": "UserDefined", "destination": "pypi.org"}}
    assert apply(f"{path}/outboundRules/pypi", rule, AZURERM)["properties"]["destination"] == "pypi.org"
    shown["properties"]["managedNetwork"] = network
    shown["properties"]["description"] = "updated"
    assert wire.put(path, shown, AZURERM).status_code == 200
    after = wire.get(path, AZURERM).json()["properties"]
    assert after["description"] == "updated"
    assert "pypi" in after["managedNetwork"]["outboundRules"]


def test_deletion_is_polled_until_the_hub_is_not_found(wire, path, parts, apply):
    """No header is followed: GET answers 200 until it answers 404, also for what was kept to be restored."""
    apply(path, ai_foundry(parts), AZURERM)
    assert wire.delete(path, AZURERM).status_code in (200, 202, 204)
    refused(wire.get(path, AZURERM), 404, "ResourceNotFound")


def test_a_purged_hub_can_be_made_again(wire, path, parts, apply):
    before = apply(path, ai_foundry(parts), AZURERM)
    assert wire.delete(path, AZURERM, params={"forceToPurge": "true"}).status_code in (200, 202, 204)
    after = apply(path, ai_foundry(parts), AZURERM)
    assert after["properties"]["workspaceId"] != before["properties"]["workspaceId"]


def test_a_project_is_created_updated_and_read(wire, path, parts, apply, group, unique):
    """azurerm_ai_foundry_project blanks what is inherited before it puts a project back."""
    parent = apply(path, ai_foundry(parts), AZURERM)["id"]
    project = f"{group}/{hub.KIND}/{unique('project')}"
    body = {"location": "westus", "kind": "Project", "identity": {"type": "SystemAssigned"},
            "properties": {"hubResourceId": parent, "friendlyName": "one"}}  # fmt: skip
    shown = apply(project, body, AZURERM)
    assert shown["properties"]["hubResourceId"] == parent
    for inherited in ("managedNetwork", "keyVault", "storageAccount", "containerRegistry", "applicationInsights",
                      "encryption"):  # fmt: skip
        shown["properties"][inherited] = None
    shown["properties"]["friendlyName"] = "two"
    assert wire.put(project, shown, AZURERM).status_code == 200
    after = wire.get(project, AZURERM).json()["properties"]
    assert (after["friendlyName"], after["storageAccount"]) == ("two", parts["storageAccount"])
    # Put back without blanking, as azapi would: what is inherited is no wish of the project's own.
    shown = wire.get(project, AZURERM).json()
    assert wire.put(project, shown, AZURERM).status_code == 200
    assert wire.get(project, AZURERM).json() == shown


RULES = [
    # The providers' own acceptance tests.
    ({"type": "FQDN", "destination": "destination"}, {"type": "FQDN", "destination": "destination2"}),
    (
        {
            "type": "ServiceTag",
            "destination": {"serviceTag": "AppConfiguration", "protocol": "TCP", "portRanges": "443"},
        },
        {"type": "ServiceTag", "destination": {"serviceTag": "AppService", "protocol": "UDP", "portRanges": "445"}},
    ),
    (
        {"type": "PrivateEndpoint", "destination": {"subresourceTarget": "vault", "sparkEnabled": False}},
        {"type": "PrivateEndpoint", "destination": {"subresourceTarget": "vault", "sparkEnabled": True}},
    ),
]


@pytest.mark.parametrize(("first", "second"), RULES, ids=[first["type"] for first, _ in RULES])
def test_the_life_of_a_rule(wire, path, parts, apply, first, second):
    apply(path, ai_foundry(parts, managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound"}), AZURERM)
    if first["type"] == "PrivateEndpoint":
        for rule in (first, second):
            rule["destination"]["serviceResourceId"] = parts["keyVault"]
    rule = f"{path}/outboundRules/rule-1"
    body = {"type": first["type"], "properties": {"category": "UserDefined", **first}}
    shown = apply(rule, body, AZURERM)
    for field, value in first.items():
        got = shown["properties"][field]
        assert got == value or {**got, **value} == got, field
    # The update of an FQDN rule sends no category.
    assert wire.put(rule, {"type": second["type"], "properties": second}, AZURERM).status_code in (200, 202)
    shown = wire.get(rule, AZURERM).json()
    assert shown["properties"]["category"] == "UserDefined"
    assert wire.put(rule, shown, AZURERM).status_code in (200, 202)
    assert wire.get(rule, AZURERM).json() == shown
    assert wire.delete(rule, AZURERM).status_code in (200, 202, 204)
    refused(wire.get(rule, AZURERM), 404, "ResourceNotFound")


def test_a_key_has_a_version_and_an_identity(wire, path, parts, apply, group, unique):
    identity = hub.associated(wire, group, unique, "identity")["id"]
    vault = wire.get(parts["keyVault"], "2023-07-01").json()
    key = {"keyVaultArmId": vault["id"], "keyIdentifier": f"{vault['properties']['vaultUri']}keys/k/{'1' * 32}"}
    encryption = {"status": "Enabled", "identity": {"userAssignedIdentity": identity}, "keyVaultProperties": key}
    body = ai_foundry(parts, encryption=encryption, primaryUserAssignedIdentity=identity)
    body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}
    shown = apply(path, body, AZURERM)
    assert shown["properties"]["encryption"]["keyVaultProperties"] == key
    assert shown["properties"]["encryption"]["identity"] == {"userAssignedIdentity": identity}
    assert shown["properties"]["primaryUserAssignedIdentity"] == identity
    assert wire.put(path, shown, AZURERM).status_code == 200
    assert wire.get(path, AZURERM).json() == shown


def test_azapi_changes_no_principal(wire, path, parts, apply):
    """A changing principal makes the provider abort with "inconsistent result"; any success of a PUT will do."""
    body = ai_foundry(parts)
    shown = apply(path, body, AZAPI, statuses=(200, 201, 202))
    for _ in range(3):
        assert wire.put(path, body, AZAPI).status_code in (200, 201, 202)
    assert wire.get(path, AZAPI).json() == shown
    assert wire.delete(path, AZAPI).status_code in (200, 202, 204)


@pytest.mark.parametrize(
    ("kind", "version", "statuses"),
    [
        ("storage", "2023-05-01", (200, 202)),
        ("insights", "2020-02-02", (200,)),
        ("vault", "2023-07-01", (200, 201)),
        ("registry", "2023-07-01", (200, 201)),
        ("identity", "2023-01-31", (200, 201)),
        ("services", "2024-10-01", (200, 201, 202)),
        ("search", "2023-11-01", (200, 201)),
    ],
)
def test_what_a_hub_stands_on_is_created_and_put_back(wire, group, unique, apply, kind, version, statuses):
    """The success codes that each of the providers takes, and a second plan that is empty."""
    resource, _, body = hub.ASSOCIATED[kind]
    name = "".join(character for character in unique(kind) if character.isalnum())
    path = f"{group}/providers/{resource}/{name}"
    shown = apply(path, {"location": "westus", **body, "properties": body.get("properties", {})}, version, statuses)
    again = wire.put(path, shown, version)
    assert again.status_code in statuses, again.text
    assert wire.get(path, version).json() == shown
    assert wire.delete(path, version).status_code in (200, 202, 204)
    refused(wire.get(path, version), 404, "ResourceNotFound")
