"""azure-ai-ml: the managed network of a hub, its modes and its provisioning (mission.md groups F, H, J, L)."""

import pytest
from azure.ai.ml.entities import (
    FqdnDestination,
    Hub,
    IsolationMode,
    ManagedNetwork,
    PrivateEndpointDestination,
    ServiceTagDestination,
)
from azure.core.exceptions import HttpResponseError

REQUIRED_TAGS = {
    "AzureMachineLearning", "AzureActiveDirectory", "BatchNodeManagement.westus", "AzureResourceManager",
    "AzureFrontDoor.FirstParty", "MicrosoftContainerRegistry", "AzureMonitor", "VirtualNetwork",
}  # fmt: skip


@pytest.fixture
def create(ml, name):
    """Creates the test's hub with a network; returns what the SDK reads of it afterwards."""

    def create(network, **properties):
        ml.workspaces.begin_create(Hub(name=name, location="westus", managed_network=network, **properties)).result()
        return ml.workspaces.get(name)

    return create


@pytest.fixture
def update(ml, name):
    def update(network):
        ml.workspaces.begin_update(Hub(name=name, managed_network=network)).result()
        return ml.workspaces.get(name).managed_network

    return update


def rules(network, category="UserDefined"):
    return {rule.name: rule for rule in network.outbound_rules or [] if rule.category == category}


def test_a_hub_is_not_isolated_unless_asked(ml, made, name):
    network = ml.workspaces.get(name).managed_network
    assert network.isolation_mode == IsolationMode.DISABLED
    assert not network.outbound_rules


def test_rules_of_every_kind_come_with_a_hub(create, resource):
    """The documents' own example, and the tag of a region and prefixes beside it."""
    storage = resource("storage")["id"]
    network = ManagedNetwork(
        isolation_mode=IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND,
        outbound_rules=[
            PrivateEndpointDestination(
                name="myrule", service_resource_id=storage, subresource_target="blob", spark_enabled=True
            ),
            ServiceTagDestination(
                name="datafactory", service_tag="DataFactory", protocol="TCP", port_ranges="80, 8080-8089"
            ),
            ServiceTagDestination(
                name="prefixes", protocol="UDP", port_ranges="514", address_prefixes=["198.18.0.0/16"]
            ),
            FqdnDestination(name="fqdnrule", destination="pypi.org"),
        ],
    )
    found = rules(create(network).managed_network)
    assert set(found) == {"myrule", "datafactory", "prefixes", "fqdnrule"}
    endpoint, tag, prefixes = found["myrule"], found["datafactory"], found["prefixes"]
    assert (endpoint.service_resource_id, endpoint.subresource_target) == (storage, "blob")
    assert endpoint.spark_enabled is True
    assert (tag.service_tag, tag.protocol, tag.port_ranges) == ("DataFactory", "TCP", "80, 8080-8089")
    assert (prefixes.address_prefixes, prefixes.port_ranges) == (["198.18.0.0/16"], "514")
    assert found["fqdnrule"].destination == "pypi.org"


def test_nothing_is_active_before_the_kernel_has_said_so(create):
    made = create(ManagedNetwork(isolation_mode=IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND))
    assert made.managed_network.status.status == "Inactive"
    assert {rule.status for rule in made.managed_network.outbound_rules} == {"Inactive"}


def test_a_hub_that_approves_brings_what_it_cannot_do_without(create, resource):
    """Private endpoints to what it stands on, public or not, and the tags (mission.md H3-H14)."""
    parts = {"storage_account": "storage", "key_vault": "vault", "container_registry": "registry"}
    ids = {field: resource(kind)["id"] for field, kind in parts.items()}
    made = create(ManagedNetwork(isolation_mode=IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND), **ids)
    required = rules(made.managed_network, "Required").values()
    assert {rule.service_tag for rule in required if isinstance(rule, ServiceTagDestination)} == REQUIRED_TAGS
    endpoints = [rule for rule in required if isinstance(rule, PrivateEndpointDestination)]
    assert {(rule.service_resource_id, rule.subresource_target) for rule in endpoints} == {
        (ids["storage_account"], "blob"), (ids["storage_account"], "file"), (ids["key_vault"], "vault"),
        (ids["container_registry"], "registry"), (made.id, "amlworkspace"),
    }  # fmt: skip


def test_a_hub_on_the_internet_reaches_privately_what_is_private(create, resource):
    """mission.md H2: only what has its public access disabled."""
    private = resource("storage", publicNetworkAccess="Disabled")["id"]
    made = create(
        ManagedNetwork(isolation_mode=IsolationMode.ALLOW_INTERNET_OUTBOUND),
        storage_account=private, key_vault=resource("vault")["id"],
    )  # fmt: skip
    required = rules(made.managed_network, "Required").values()
    endpoints = [rule for rule in required if isinstance(rule, PrivateEndpointDestination)]
    assert {rule.service_resource_id for rule in endpoints} == {private}


def test_a_hub_is_isolated_later(ml, made, update, name):
    network = update(ManagedNetwork(isolation_mode=IsolationMode.ALLOW_INTERNET_OUTBOUND))
    assert network.isolation_mode == IsolationMode.ALLOW_INTERNET_OUTBOUND
    rule = FqdnDestination(name="pypi", destination="pypi.org")
    approved = ManagedNetwork(isolation_mode=IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND, outbound_rules=[rule])
    assert set(rules(update(approved))) == {"pypi"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("allow_only_approved_outbound", IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND),
        ("AllowInternetOutbound", IsolationMode.ALLOW_INTERNET_OUTBOUND),
        ("ALLOW_INTERNET_OUTBOUND", IsolationMode.ALLOW_INTERNET_OUTBOUND),
    ],
)
def test_both_spellings_of_a_mode_are_understood(made, update, written, read):
    assert update(ManagedNetwork(isolation_mode=written)).isolation_mode == read


def test_isolation_is_not_given_up(ml, made, update, name):
    update(ManagedNetwork(isolation_mode=IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND))
    with pytest.raises(HttpResponseError, match="cannot be disabled") as refused:
        update(ManagedNetwork(isolation_mode=IsolationMode.DISABLED))
    assert refused.value.status_code == 400
    network = ml.workspaces.get(name).managed_network
    assert network.isolation_mode == IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND


def test_an_update_that_lists_no_rules_deletes_none(made, update):
    rule = FqdnDestination(name="kept", destination="kept.example")
    approved = IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND
    update(ManagedNetwork(isolation_mode=approved, outbound_rules=[rule]))
    assert set(rules(update(ManagedNetwork(isolation_mode=approved)))) == {"kept"}
    assert set(rules(update(ManagedNetwork(isolation_mode=approved, outbound_rules=[])))) == {"kept"}


def test_what_was_read_can_be_sent_back(ml, made, update, name):
    """The client drops the required rules, and sends the others as it read them."""
    rule = FqdnDestination(name="kept", destination="kept.example")
    mode = IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND
    before = update(ManagedNetwork(isolation_mode=mode, outbound_rules=[rule]))
    ml.workspaces.begin_update(ml.workspaces.get(name)).result()
    after = ml.workspaces.get(name).managed_network
    assert [rule._to_dict() for rule in after.outbound_rules] == [rule._to_dict() for rule in before.outbound_rules]


@pytest.mark.parametrize("sku", ["basic", "Standard", "Basic"])
def test_the_firewall_is_remembered_as_it_was_written(create, sku):
    """The documents write "basic" (mission.md L4)."""
    mode = IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND
    assert create(ManagedNetwork(isolation_mode=mode, firewall_sku=sku)).managed_network.firewall_sku == sku


def test_the_documents_firewall_in_the_wrong_mode_is_taken(create):
    """mission.md L5: their sample pairs a firewall with a mode that has none."""
    network = ManagedNetwork(isolation_mode=IsolationMode.ALLOW_INTERNET_OUTBOUND, firewall_sku="basic")
    assert create(network).managed_network.isolation_mode == IsolationMode.ALLOW_INTERNET_OUTBOUND


def test_the_firewall_is_changed_later(made, update):
    mode = IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND
    assert update(ManagedNetwork(isolation_mode=mode)).firewall_sku == "Standard"
    assert update(ManagedNetwork(isolation_mode=mode, firewall_sku="Basic")).firewall_sku == "Basic"
    assert update(ManagedNetwork(isolation_mode=mode)).firewall_sku == "Basic"


@pytest.mark.parametrize("spark", [True, False])
def test_provisioning_answers_what_is_there(ml, create, name, spark):
    create(ManagedNetwork(isolation_mode=IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND))
    answer = ml.workspaces.begin_provision_network(workspace_name=name, include_spark=spark).result()
    shown = ml.workspaces.get(name).managed_network.status.status
    # The kernel may come in between; what was said to be active is.
    assert answer.status == shown or (answer.status, shown) == ("Inactive", "Active")
    assert answer.spark_ready is False


REFUSED = [
    ("an unknown mode", ManagedNetwork(isolation_mode="open"), "isolation"),
    ("an unknown firewall", ManagedNetwork(isolation_mode="AllowOnlyApprovedOutbound", firewall_sku="Gold"), "SKU"),
    (
        "a host on the internet",
        ManagedNetwork(
            isolation_mode="AllowInternetOutbound",
            outbound_rules=[FqdnDestination(name="pypi", destination="pypi.org")],
        ),
        "Rule 'pypi' of type FQDN cannot stand in isolation mode AllowInternetOutbound",
    ),
    (
        "a tag on the internet",
        ManagedNetwork(
            isolation_mode="AllowInternetOutbound",
            outbound_rules=[
                ServiceTagDestination(name="factory", service_tag="DataFactory", protocol="TCP", port_ranges="80")
            ],
        ),
        "Rule 'factory' of type ServiceTag cannot stand in isolation mode AllowInternetOutbound",
    ),
    (
        "a rule without isolation",
        ManagedNetwork(
            isolation_mode="Disabled", outbound_rules=[FqdnDestination(name="pypi", destination="pypi.org")]
        ),
        "isolation mode of the hub is Disabled",
    ),
]


@pytest.mark.parametrize(("network", "sentence"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_hub_with_a_network_that_cannot_be_is_not_made(ml, create, name, network, sentence):
    """mission.md G3: the refusal names the rule and the mode."""
    with pytest.raises(HttpResponseError) as refused:
        create(network)
    assert sentence in refused.value.message + str(refused.value)
    assert name not in [one.name for one in ml.workspaces.list()]


def test_rules_that_a_mode_cannot_hold_stop_the_change_of_mode(ml, create, update, name):
    rule = FqdnDestination(name="pypi", destination="pypi.org")
    create(ManagedNetwork(isolation_mode="AllowOnlyApprovedOutbound", outbound_rules=[rule]))
    with pytest.raises(HttpResponseError, match="Rule 'pypi'") as refused:
        update(ManagedNetwork(isolation_mode="AllowInternetOutbound"))
    assert refused.value.status_code == 400
    assert ml.workspaces.get(name).managed_network.isolation_mode == "AllowOnlyApprovedOutbound"
