"""What hubs and projects refuse, and say, when a request comes by hand: past the checks that clients make."""

import pytest
from support import hub, login
from support.wire import WORKSPACES, Wire, refused

WARNING = "x-ms-bastide-warning"


@pytest.fixture(scope="module")
def strict(start_bastide):
    """A Bastide that keeps the cloud's limits (`--parity strict`)."""
    server = start_bastide("--parity", "strict")
    return Wire(server, login.access_token(server))


@pytest.fixture(params=["native", "strict"])
def of(request, wire, unique):
    """Both kinds of parity; gives a wire and a group on it."""
    chosen = request.getfixturevalue("strict") if request.param == "strict" else wire
    group = f"{chosen.server.subscription}/resourceGroups/{unique('rg')}"
    assert chosen.put(group, {"location": "westus"}).status_code == 201
    yield Place(chosen, group, unique, request.param == "strict")
    chosen.delete(group)


class Place:
    """A group of a Bastide, and what a test does there."""

    def __init__(self, wire, group, unique, is_strict):
        self.wire, self.group, self.unique, self.is_strict = wire, group, unique, is_strict
        self.path = f"{group}/{hub.KIND}/{unique('hub')}"

    def part(self, kind, **changes):
        return hub.associated(self.wire, self.group, self.unique, kind, **changes)["id"]

    def put(self, body, path=None):
        return self.wire.put(path or self.path, body, WORKSPACES)

    def patch(self, **properties):
        return self.wire.patch(self.path, {"properties": properties}, WORKSPACES)

    def shown(self):
        return self.wire.get(self.path, WORKSPACES).json()

    def may_only_natively(self, answer, property):
        """A limit of the cloud that is nothing but a limit: lifted, unless one asks for it."""
        if self.is_strict:
            error = refused(answer, 400, "ValidationError")
            assert property in error["target"]
        else:
            assert answer.status_code == 200, answer.text


def test_what_is_fixed_at_creation_stays(of):
    """In both kinds of parity (arm-models.md section 3)."""
    of.put(hub.body(storageAccount=of.part("storage"), keyVault=of.part("vault"), hbiWorkspace=True))
    before = of.shown()
    changes = [
        hub.body(storageAccount=of.part("storage")),
        hub.body(keyVault=of.part("vault")),
        hub.body(hbiWorkspace=False),
        {**hub.body(), "kind": "Project"},
    ]
    for change in changes:
        assert of.put(change).status_code == 400, change
    moved = of.put({**hub.body(), "location": "eastus"})
    refused(moved, 409, "InvalidResourceLocation")
    assert of.shown() == before


def test_insights_and_registry_are_never_unset(of):
    """mission.md O7: a client can not even say it, a request can."""
    of.put(hub.body(applicationInsights=of.part("insights"), containerRegistry=of.part("registry")))
    before = of.shown()
    for part in ("applicationInsights", "containerRegistry"):
        error = refused(of.patch(**{part: None}), 400, "ValidationError")
        assert error["target"] == f"properties.{part}" and "unset" in error["message"]
    assert of.shown() == before


def test_a_change_without_consent_is_said_to_break_something(of):
    """Consent is the client's to ask for; a raw change gets a warning, or a refusal (mission.md O5, O6)."""
    of.put(hub.body(containerRegistry=of.part("registry")))
    other = of.part("registry")
    answer = of.patch(containerRegistry=other)
    of.may_only_natively(answer, "containerRegistry")
    if not of.is_strict:
        assert "containerRegistry" in answer.headers[WARNING] and "breaks" in answer.headers[WARNING]
    consented = of.patch(containerRegistry=of.part("registry"), updateDependentResources=True)
    assert consented.status_code == 200
    assert "updateDependentResources" not in consented.json()["properties"]


def test_a_data_lake_is_no_default_storage_for_the_cloud(of):
    """mission.md A21."""
    lake = of.part("storage", isHnsEnabled=True)
    of.may_only_natively(of.put(hub.body(storageAccount=lake)), "storageAccount")


def test_a_users_identity_alone_needs_given_resources_in_the_cloud(of):
    """mission.md C2."""
    identity = of.part("identity")
    body = {**hub.body(), "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    answer = of.put(body)
    if of.is_strict:
        assert "existing storage account" in refused(answer, 400, "ValidationError")["message"]
    else:
        assert answer.status_code == 200, answer.text


def test_a_primary_identity_must_be_assigned(of):
    error = refused(of.put(hub.body(primaryUserAssignedIdentity=of.part("identity"))), 400, "ValidationError")
    assert error["target"] == "properties.primaryUserAssignedIdentity"


def test_isolation_is_not_disabled(of):
    """mission.md F16; what it can become is told (W5)."""
    of.put(hub.body(managedNetwork={"isolationMode": "AllowInternetOutbound"}))
    assert of.shown()["properties"]["managedNetwork"]["changeableIsolationModes"] == ["AllowOnlyApprovedOutbound"]
    error = refused(of.patch(managedNetwork={"isolationMode": "Disabled"}), 400, "ValidationError")
    assert "AllowOnlyApprovedOutbound" in error["message"]


def test_silence_about_rules_deletes_none(of):
    """Absent, empty, or with others in it: rules that are not named stay. A null removes one."""
    rule = {"type": "FQDN", "destination": "pypi.org"}
    mode = "AllowOnlyApprovedOutbound"
    of.put(hub.body(managedNetwork={"isolationMode": mode, "outboundRules": {"one": rule, "two": rule}}))

    def names():
        rules = of.shown()["properties"]["managedNetwork"]["outboundRules"]
        return {name for name, rule in rules.items() if rule["category"] == "UserDefined"}

    for network in ({"isolationMode": mode}, {"isolationMode": mode, "outboundRules": {}}):
        assert of.patch(managedNetwork=network).status_code == 200
        assert of.put(hub.body(managedNetwork=network)).status_code == 200
    assert of.put(hub.body()).status_code == 200
    assert names() == {"one", "two"}
    assert of.patch(managedNetwork={"outboundRules": {"three": rule}}).status_code == 200
    assert names() == {"one", "two", "three"}
    assert of.patch(managedNetwork={"outboundRules": {"two": None}}).status_code == 200
    assert names() == {"one", "three"}


def test_a_key_is_chosen_at_creation_or_never(of):
    """mission.md M2."""
    vault = of.part("vault")
    uri = of.wire.get(vault, "2023-07-01").json()["properties"]["vaultUri"]
    key = {"keyVaultArmId": vault, "keyIdentifier": f"{uri}keys/hub/{'1' * 32}"}
    assert of.put(hub.body()).status_code == 200
    late = of.put(hub.body(encryption={"status": "Enabled", "keyVaultProperties": key}))
    assert "creation" in refused(late, 400, "ValidationError")["message"]
    of.path = f"{of.group}/{hub.KIND}/{of.unique('hub')}"
    made = of.put(hub.body(encryption={"status": "Enabled", "keyVaultProperties": key}))
    assert made.status_code == 200, made.text
    assert made.json()["properties"]["encryption"]["bastide"]["state"] == "StoredNotProtecting"
    off = of.put(hub.body(encryption={"status": "Disabled", "keyVaultProperties": key}))
    assert "cannot be disabled" in refused(off, 400, "ValidationError")["message"]


def test_what_a_hub_names_must_be_there_and_of_the_right_kind(of):
    nowhere = f"{of.group}/providers/Microsoft.Storage/storageAccounts/nowhere"
    answer = of.put(hub.body(storageAccount=nowhere))
    assert 400 <= answer.status_code < 500 and "nowhere" in answer.json()["error"]["message"]
    answer = of.put(hub.body(storageAccount=of.part("vault")))
    assert answer.status_code == 400
    assert "Microsoft.Storage/storageAccounts" in answer.json()["error"]["message"]
    refused(of.wire.get(of.path, WORKSPACES), 404, "ResourceNotFound")


def test_the_same_body_again_changes_no_revision(of):
    """Neither the time of the last change nor the ETag."""
    rule = {"type": "FQDN", "destination": "pypi.org"}
    network = {"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": {"pypi": rule}}
    body = hub.body(storageAccount=of.part("storage"), managedNetwork=network, friendlyName="same")
    first = of.put(body)
    again = of.put(body)
    assert again.json() == first.json()
    assert again.headers["ETag"] == first.headers["ETag"]
