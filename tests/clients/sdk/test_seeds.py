"""The Python of the documents, as printed, run by the SDK in a shell that evaluated `bastide env python`.

Every block is taken out of its document when the test runs. What a reader must fill in is filled in; what the authors
got wrong is put right by one table, with the reason. A block nobody looks at here fails.
"""

import pytest
from support import hub, sdk, seeds
from support.wire import WORKSPACES

pytestmark = seeds.needed()

BLOCKS = {block.id: block for block in seeds.python_blocks()}
# The imports and the client that the document says its examples begin with.
BEGINNING = "004-1"

SLIPS = [
    # block, written, meant, reason
    (
        "004-3",
        "my_hub.managed_network",
        "ws.managed_network",
        "the hub that was just read is called ws (mission.md V8)",
    ),
    ("004-6", "ai_hub_name", '"myAIHubName"', "never set; the comment and the client name another one"),
    (
        "004-8",
        "_workspace_outbound_rules.get(resource_group, ws_name, rule_name)",
        'workspace_outbound_rules.get("myhub", rule_name)',
        "the shipped client takes workspace and rule, in public; ws_name is never set (mission.md G14)",
    ),
    (
        "004-8",
        "_workspace_outbound_rules.list(resource_group, ws_name)",
        'workspace_outbound_rules.list("myhub")',
        "as above",
    ),
    (
        "004-8",
        "_workspace_outbound_rules.begin_remove(resource_group, ws_name, rule_name)",
        'workspace_outbound_rules.begin_remove("myhub", rule_name)',
        "as above",
    ),
]


@pytest.fixture
def storage(wire, group, unique):
    return hub.associated(wire, group, unique, "storage")


@pytest.fixture
def run(bastide, group, tmp_path):
    """Runs a block after the beginning; `filled` are the values of what stands in brackets in it."""

    def run(id, **filled):
        lines = [BLOCKS[BEGINNING].text] if id != BEGINNING else []
        # Some blocks of a document continue where the one before them ended.
        lines += [BLOCKS[before].without_slips(SLIPS) for before in CONTINUES.get(id, [])]
        program = "\n".join([*lines, BLOCKS[id].without_slips(SLIPS)])
        values = {
            "<SUBSCRIPTION_ID>": bastide.bootstrap.subscription_id,
            "<RESOURCE_GROUP>": group.rsplit("/", 1)[1],
            **filled,
        }
        for placeholder, value in values.items():
            program = program.replace(placeholder, value)
        done = sdk.run(bastide, program, tmp_path)
        assert done.returncode == 0, f"{id}: {done.stderr[-3000:]}"
        return done.stdout

    return run


@pytest.fixture
def make(wire, group):
    """Makes the hub that a block expects to be there."""
    return lambda name, **properties: hub.create(wire, f"{group}/{hub.KIND}/{name}", **properties)["id"]


@pytest.fixture
def network(wire, group):
    """The managed network of `myhub` as it is now."""
    return lambda: wire.get(f"{group}/{hub.KIND}/myhub", WORKSPACES).json()["properties"]["managedNetwork"]


CONTINUES = {"004-7": ["004-6"]}


def users(network):
    return {name: rule for name, rule in network["outboundRules"].items() if rule["category"] == "UserDefined"}


@pytest.mark.parametrize("id", ["000-1", "001-1"])
def test_insights_and_registry_of_a_hub_are_changed(run, make, wire, group, unique, id):
    parent = make("myexamplehub")
    insights = hub.associated(wire, group, unique, "insights")["id"]
    registry = hub.associated(wire, group, unique, "registry")["id"]
    run(id, **{"{APPLICATION_INSIGHTS_ARM_ID}": insights, "{CONTAINER_REGISTRY_ARM_ID}": registry})
    properties = wire.get(parent, WORKSPACES).json()["properties"]
    assert (properties["applicationInsights"], properties["containerRegistry"]) == (insights, registry)


def test_the_beginning_makes_a_client(run):
    run(BEGINNING)


def expect_endpoint(rules, storage):
    destination = rules["myrule"]["destination"]
    assert destination["serviceResourceId"] == storage["id"]
    assert destination["subresourceTarget"] == "blob"
    assert destination["sparkEnabled"] is True


def test_a_hub_that_opens_the_internet_is_created(run, storage, network):
    run("004-2", **{"<STORAGE_ACCOUNT_NAME>": storage["name"]})
    made = network()
    assert made["isolationMode"] == "AllowInternetOutbound"
    assert set(users(made)) == {"myrule"}
    expect_endpoint(users(made), storage)


def test_a_hub_is_updated_to_open_the_internet(run, make, storage, network):
    make("myhub")
    run("004-3", **{"<STORAGE_ACCOUNT_NAME>": storage["name"]})
    assert network()["isolationMode"] == "AllowInternetOutbound"
    expect_endpoint(users(network()), storage)


def expect_three_rules(network, storage):
    assert network["isolationMode"] == "AllowOnlyApprovedOutbound"
    rules = users(network)
    assert set(rules) == {"myrule", "datafactory", "fqdnrule"}
    expect_endpoint(rules, storage)
    assert rules["fqdnrule"]["destination"] == "pypi.org"
    assert rules["datafactory"]["destination"]["serviceTag"] == "DataFactory"
    assert rules["datafactory"]["destination"]["portRanges"] == "80, 8080-8089"


def test_a_hub_that_approves_is_created(run, storage, network):
    run("004-4", **{"<STORAGE_ACCOUNT_NAME>": storage["name"]})
    expect_three_rules(network(), storage)


def test_a_hub_is_updated_to_approve(run, make, storage, network):
    make("myhub")
    run("004-5", **{"<STORAGE_ACCOUNT_NAME>": storage["name"]})
    expect_three_rules(network(), storage)


def test_a_network_is_provisioned_and_its_status_read(run, make, wire):
    """The block that prints the status continues the one that provisions."""
    made = make("myAIHubName", managedNetwork={"isolationMode": "AllowInternetOutbound"})
    run("004-6")
    printed = run("004-7")
    status = wire.get(made, WORKSPACES).json()["properties"]["managedNetwork"]["status"]["status"]
    # The kernel may come in between.
    assert f"'{status}'" in printed or (status == "Active" and "'Inactive'" in printed)


def test_rules_are_got_listed_and_removed(run, make, network):
    rule = {"type": "FQDN", "destination": "pypi.org"}
    rules = {"kept-rule": rule, "some-rule": rule}
    make("myhub", managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": rules})
    run("004-8", **{"<some-rule-name>": "some-rule"})
    assert set(users(network())) == {"kept-rule"}


def test_a_firewall_is_chosen(run):
    run("004-9")


def test_every_block_of_every_document_is_run():
    run = {"000-1", "001-1", BEGINNING, *(f"004-{number}" for number in range(2, 10))}
    assert set(BLOCKS) == run


def test_every_slip_is_still_one():
    """A document that was corrected needs no correction here."""
    for block, written, _, _ in SLIPS:
        assert written in BLOCKS[block].text, f"{block}: {written}"
