"""azure-ai-ml: outbound rules one by one, and many at once (mission.md group G)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.ai.ml.entities import FqdnDestination, PrivateEndpointDestination, ServiceTagDestination
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from support import hub
from support.wire import WORKSPACES

APPROVED = {"isolationMode": "AllowOnlyApprovedOutbound"}


@pytest.fixture(scope="module")
def parent(wire, shared_group, unique):
    """The id of a hub that approves."""
    return hub.create(wire, f"{shared_group}/{hub.KIND}/{unique('hub')}", managedNetwork=APPROVED)["id"]


@pytest.fixture(scope="module")
def workspace(parent):
    return parent.rsplit("/", 1)[1]


@pytest.fixture(scope="module")
def rules(ml):
    return ml.workspace_outbound_rules


@pytest.fixture
def rule(unique):
    return unique("rule")


@pytest.fixture
def create(rules, workspace):
    return lambda rule: rules.begin_create(workspace, rule).result()


def test_the_life_of_a_host_name(create, rules, workspace, rule):
    made = create(FqdnDestination(name=rule, destination="*.Anaconda.org"))
    assert (made.name, made.destination, made.category) == (rule, "*.anaconda.org", "UserDefined")
    assert rules.get(workspace, rule).destination == "*.anaconda.org"
    changed = rules.begin_update(workspace, FqdnDestination(name=rule, destination="pytorch.org")).result()
    assert changed.destination == "pytorch.org"
    assert [one.destination for one in rules.list(workspace) if one.name == rule] == ["pytorch.org"]
    assert rules.begin_remove(workspace, rule).result() is None
    with pytest.raises(ResourceNotFoundError):
        rules.get(workspace, rule)


def test_the_life_of_a_private_endpoint(create, rules, workspace, rule, resource):
    storage = resource("storage")["id"]
    create(PrivateEndpointDestination(name=rule, service_resource_id=storage, subresource_target="blob"))
    read = rules.get(workspace, rule)
    assert (read.service_resource_id, read.subresource_target) == (storage, "blob")
    assert read.spark_enabled is False
    rules.begin_update(
        workspace,
        PrivateEndpointDestination(
            name=rule, service_resource_id=storage, subresource_target="file", spark_enabled=True
        ),
    ).result()
    read = rules.get(workspace, rule)
    assert (read.subresource_target, read.spark_enabled) == ("file", True)


def test_the_life_of_a_service_tag(create, rules, workspace, rule):
    """As Terraform's own tests take it: from one tag to another."""
    create(ServiceTagDestination(name=rule, service_tag="AppConfiguration", protocol="TCP", port_ranges="443"))
    rules.begin_update(
        workspace, ServiceTagDestination(name=rule, service_tag="AppService", protocol="udp", port_ranges="445, 1-2")
    ).result()
    read = rules.get(workspace, rule)
    assert (read.service_tag, read.protocol, read.port_ranges) == ("AppService", "UDP", "445, 1-2")


def test_removing_what_is_not_there_is_no_error(rules, workspace, rule):
    rules.begin_remove(workspace, rule).result()


def test_a_name_has_no_case(create, rules, workspace, rule):
    create(FqdnDestination(name=rule, destination="one.example"))
    create(FqdnDestination(name=rule.upper(), destination="two.example"))
    found = [one for one in rules.list(workspace) if one.name.lower() == rule.lower()]
    assert [one.destination for one in found] == ["two.example"]


def test_fifty_rules_at_once_are_fifty_rules(bastide, wire, rules, ml, shared_group, unique):
    """No change of one rule loses another (pain 1): fifty in parallel, while the hub itself is updated."""
    parent = hub.create(wire, f"{shared_group}/{hub.KIND}/{unique('hub')}", managedNetwork=APPROVED)["id"]
    workspace = parent.rsplit("/", 1)[1]
    required = {one.name for one in rules.list(workspace)}

    def make(number):
        return rules.begin_create(
            workspace, FqdnDestination(name=f"rule-{number}", destination=f"host-{number}.example")
        ).result()

    def touch(number):
        body = {"properties": {"description": str(number), "managedNetwork": {"outboundRules": {}}}}
        return wire.patch(parent, body, WORKSPACES).status_code

    with ThreadPoolExecutor(12) as pool:
        made = pool.map(make, range(50))
        touched = [pool.submit(touch, number) for number in range(5)]
        assert [one.name for one in made] == [f"rule-{number}" for number in range(50)]
        assert {one.result() for one in touched} == {200}
    listed = {one.name: one for one in rules.list(workspace)}
    assert set(listed) - required == {f"rule-{number}" for number in range(50)}
    assert all(listed[f"rule-{number}"].destination == f"host-{number}.example" for number in range(50))
    shown = wire.get(parent, WORKSPACES).json()["properties"]["managedNetwork"]["outboundRules"]
    assert set(shown) == set(listed)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: rules.begin_remove(workspace, f"rule-{number}").result(), range(0, 50, 2)))
    assert {one.name for one in rules.list(workspace)} - required == {f"rule-{number}" for number in range(1, 50, 2)}


def test_a_required_rule_is_neither_changed_nor_removed(rules, workspace):
    required = next(one for one in rules.list(workspace) if one.category == "Required")
    with pytest.raises(HttpResponseError, match="needs it") as refused:
        rules.begin_remove(workspace, required.name).result()
    assert refused.value.status_code == 400
    with pytest.raises(HttpResponseError) as refused:
        rules.begin_create(workspace, FqdnDestination(name=required.name, destination="evil.example")).result()
    assert refused.value.status_code == 400
    assert rules.get(workspace, required.name)._to_dict() == required._to_dict()


def test_a_rule_called_required_is_the_users_all_the_same(create, rules, workspace, rule):
    """The documents' own YAML says so of a user's rule (mission.md G15)."""
    create(FqdnDestination(name=rule, destination="contoso.com", category="Required"))
    assert rules.get(workspace, rule).category == "UserDefined"
    rules.begin_remove(workspace, rule).result()


REFUSED = [
    ("an address", FqdnDestination(name="bad", destination="192.0.2.1"), "IP address"),
    ("a page", FqdnDestination(name="bad", destination="https://pypi.org/simple"), "host name"),
    ("a port", FqdnDestination(name="bad", destination="pypi.org:8443"), "port"),
    ("a star inside", FqdnDestination(name="bad", destination="a.*.org"), "wildcard"),
    ("nothing", FqdnDestination(name="bad", destination=""), "destination"),
    ("a storage account", FqdnDestination(name="bad", destination="acc.blob.core.windows.net"), "PrivateEndpoint"),
    ("all storage", FqdnDestination(name="bad", destination="*.blob.core.windows.net"), "PrivateEndpoint"),
    (
        "ports that are none",
        ServiceTagDestination(name="bad", service_tag="AzureMonitor", protocol="TCP", port_ranges="80-"),
        "port range",
    ),
    (
        "a protocol that is none",
        ServiceTagDestination(name="bad", service_tag="AzureMonitor", protocol="SCTP", port_ranges="80"),
        "protocol",
    ),
    ("neither tag nor prefix", ServiceTagDestination(name="bad", protocol="TCP", port_ranges="80"), "serviceTag"),
    (
        "a prefix that is none",
        ServiceTagDestination(name="bad", protocol="TCP", port_ranges="80", address_prefixes=["10.0.0.0/33"]),
        "address prefix",
    ),
    (
        "an id that is none",
        PrivateEndpointDestination(name="bad", service_resource_id="storage", subresource_target="blob"),
        "serviceResourceId",
    ),
    ("a short name", FqdnDestination(name="ab", destination="pypi.org"), "3 to 33"),
    ("a name with a blank", FqdnDestination(name="a rule", destination="pypi.org"), "3 to 33"),
    ("a long name", FqdnDestination(name="a" * 34, destination="pypi.org"), "3 to 33"),
]


@pytest.mark.parametrize(("wanted", "sentence"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_rule_that_cannot_be_is_refused_with_a_sentence(create, rules, workspace, wanted, sentence):
    before = {one.name for one in rules.list(workspace)}
    with pytest.raises(HttpResponseError) as refused:
        create(wanted)
    assert refused.value.status_code == 400
    assert sentence.lower() in str(refused.value).lower()
    assert {one.name for one in rules.list(workspace)} == before


def test_a_private_endpoint_needs_a_sub_resource_of_its_target(create, resource):
    storage = resource("storage")["id"]
    with pytest.raises(HttpResponseError, match="blob") as refused:
        create(PrivateEndpointDestination(name="bad", service_resource_id=storage, subresource_target="vault"))
    assert refused.value.status_code == 400


def test_rules_go_with_their_hub(ml, rules, wire, shared_group, unique):
    parent = hub.create(wire, f"{shared_group}/{hub.KIND}/{unique('hub')}", managedNetwork=APPROVED)["id"]
    workspace = parent.rsplit("/", 1)[1]
    rules.begin_create(workspace, FqdnDestination(name="kept", destination="kept.example")).result()
    ml.workspaces.begin_delete(workspace, delete_dependent_resources=False, permanently_delete=True).result()
    hub.create(wire, parent, managedNetwork=APPROVED)
    assert "kept" not in [one.name for one in rules.list(workspace)]
