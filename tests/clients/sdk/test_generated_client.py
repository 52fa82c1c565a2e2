"""The client generated from the 2025-12-01 description, as azure-ai-ml carries it: the newest shape there is.

Every answer goes through its models, which know that version's fields and status codes and no others.
"""

import pytest
from azure.ai.ml._restclient.arm_ml_service import MachineLearningServicesMgmtClient
from azure.ai.ml._restclient.arm_ml_service import models as m
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from support import hub
from support.secrets import SECRETS

CANARY = "canary-of-the-newest-client"


@pytest.fixture(scope="module")
def client(exported, bastide):
    with MachineLearningServicesMgmtClient(
        DefaultAzureCredential(), bastide.bootstrap.subscription_id, bastide.endpoint,
        credential_scopes=[f"{bastide.endpoint}/.default"], polling_interval=0.1,
    ) as client:  # fmt: skip
        yield client


@pytest.fixture
def rg(shared_group):
    return shared_group.rsplit("/", 1)[1]


@pytest.fixture
def create(client, rg, name):
    def create(**properties):
        body = m.Workspace(
            location="westus", kind="Hub", identity=m.ManagedServiceIdentity(type="SystemAssigned"),
            properties=m.WorkspaceProperties(**properties),
        )  # fmt: skip
        return client.workspaces.begin_create_or_update(rg, name, body).result()

    return create


def approved(**rules):
    return m.ManagedNetworkSettings(isolation_mode="AllowOnlyApprovedOutbound", outbound_rules=rules)


def test_the_life_of_a_hub(client, rg, name, create, resource):
    storage = resource("storage")["id"]
    made = create(
        friendly_name="New", storage_account=storage, system_datastores_auth_mode="Identity",
        enable_data_isolation=True, v1_legacy_mode=False,
    )  # fmt: skip
    assert (made.kind, made.location, made.identity.type) == ("Hub", "westus", "SystemAssigned")
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.system_datastores_auth_mode == "Identity"
    assert made.properties.storage_account == storage
    assert made.properties.enable_data_isolation is True
    assert made.system_data.created_at
    assert client.workspaces.get(rg, name).as_dict() == made.as_dict()
    assert name in [one.name for one in client.workspaces.list_by_resource_group(rg, kind="Hub")]
    assert name in [one.name for one in client.workspaces.list_by_subscription()]
    changed = client.workspaces.begin_update(
        rg, name, m.WorkspaceUpdateParameters(tags={"a": "1"}, properties={"description": "changed"})
    ).result()
    assert (changed.properties.description, changed.tags) == ("changed", {"a": "1"})
    client.workspaces.begin_delete(rg, name).result()
    with pytest.raises(ResourceNotFoundError):
        client.workspaces.get(rg, name)


def test_a_network_has_the_newest_fields(create):
    made = create(
        managed_network=m.ManagedNetworkSettings(
            isolation_mode="AllowOnlyApprovedOutbound", managed_network_kind="V1", enable_network_monitor=True,
            firewall_sku="Basic", outbound_rules={"pypi": m.FqdnOutboundRule(destination="pypi.org")},
        )
    )  # fmt: skip
    network = made.properties.managed_network
    assert (network.managed_network_kind, network.enable_network_monitor) == ("V1", True)
    assert network.firewall_sku == "Basic"
    rule = network.outbound_rules["pypi"]
    assert isinstance(rule, m.FqdnOutboundRule)
    assert (rule.category, rule.destination) == ("UserDefined", "pypi.org")
    assert rule.status in ("Inactive", "Active")
    assert (rule.status == "Inactive") == bool(rule.error_information), "why it is not active"


def test_the_life_of_a_rule(client, rg, name, create, resource):
    create(managed_network=approved())
    rules = client.managed_network_settings_rule
    vault = resource("vault")["id"]
    destination = m.PrivateEndpointDestination(service_resource_id=vault, subresource_target="vault")
    body = m.OutboundRuleBasicResource(
        properties=m.PrivateEndpointOutboundRule(destination=destination, fqdns=["kv.example"])
    )
    made = rules.begin_create_or_update(rg, name, "to-vault", body).result()
    assert made.properties.destination.service_resource_id == vault
    assert made.properties.fqdns == ["kv.example"]
    assert rules.get(rg, name, "to-vault").as_dict() == made.as_dict()
    assert "to-vault" in [one.name for one in rules.list(rg, name)]
    rules.begin_delete(rg, name, "to-vault").result()
    with pytest.raises(ResourceNotFoundError):
        rules.get(rg, name, "to-vault")


def test_a_network_is_provisioned(client, rg, name, create):
    create(managed_network=approved())
    status = client.managed_network_provisions.begin_provision_managed_network(
        rg, name, m.ManagedNetworkProvisionOptions(include_spark=False)
    ).result()
    shown = client.workspaces.get(rg, name).properties.managed_network.status.status
    # The kernel may come in between; what was said to be active is.
    assert status.status == shown or (status.status, shown) == ("Inactive", "Active")


def test_the_life_of_a_connection(client, rg, name, create):
    SECRETS.add(CANARY)
    create()
    connections = client.workspace_connections
    body = m.WorkspaceConnectionPropertiesV2BasicResource(
        properties=m.CustomKeysWorkspaceConnectionProperties(
            category="CustomKeys", target="x", metadata={"team": "red"},
            credentials=m.CustomKeys(keys_property={"one": CANARY}),
        )
    )  # fmt: skip
    made = connections.create(rg, name, "mine", body)
    assert (made.properties.auth_type, made.properties.category) == ("CustomKeys", "CustomKeys")
    assert made.properties.credentials is None
    assert made.properties.metadata == {"team": "red"}
    told = connections.list_secrets(rg, name, "mine").properties.credentials
    assert told.as_dict() == {"keys": {"one": CANARY}}
    assert [one.name for one in connections.list(rg, name)] == ["mine"]
    connections.delete(rg, name, "mine")
    with pytest.raises(ResourceNotFoundError):
        connections.get(rg, name, "mine")


def test_a_refusal_has_a_code_a_sentence_and_a_place(create, client, rg, name):
    with pytest.raises(HttpResponseError) as refused:
        create(managed_network=approved(bad=m.FqdnOutboundRule(destination="192.0.2.1")))
    error = refused.value.error
    assert (refused.value.status_code, error.code) == (400, "ValidationError")
    assert error.target == "properties.managedNetwork.outboundRules.bad.destination"
    assert "IP address" in error.message
    with pytest.raises(ResourceNotFoundError):
        client.workspaces.get(rg, name)


def test_hubs_of_other_clients_are_read(client, rg, ml, name, wire, shared_group, unique):
    """What the SDK and plain requests make, this client's models take."""
    other = unique("hub")
    hub.create(wire, f"{shared_group}/{hub.KIND}/{other}", managedNetwork={"isolationMode": "AllowInternetOutbound"})
    assert client.workspaces.get(rg, other).properties.managed_network.isolation_mode == "AllowInternetOutbound"
