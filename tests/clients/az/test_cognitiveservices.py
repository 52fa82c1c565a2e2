"""`az cognitiveservices account`: AI services accounts, and the managed network that the core of az drives."""

import json

import pytest
from support.secrets import SECRETS

ACCOUNT = ("cognitiveservices", "account")
NETWORK = (*ACCOUNT, "managed-network")
RULE = (*NETWORK, "outbound-rule")


@pytest.fixture
def create(az, rg):
    def create(name, kind="AIServices"):
        return az.ok(*ACCOUNT, "create", "-g", rg, "-n", name, "-l", "westus", "--kind", kind, "--sku", "S0",
                     "--custom-domain", name, "--yes")  # fmt: skip

    return create


@pytest.fixture
def name(unique):
    return unique("ai")


@pytest.fixture(scope="module")
def shared(az, rg, unique):
    """The account of the tests that only change its network; returns its name."""
    name = unique("net")
    az.ok(*ACCOUNT, "create", "-g", rg, "-n", name, "-l", "westus", "--kind", "AIServices", "--sku", "S0", "--yes")
    az.ok(*NETWORK, "create", "-g", rg, "-n", name, "--managed-network", "allow_only_approved_outbound")
    return name


@pytest.fixture
def on(rg, shared):
    return ["-g", rg, "-n", shared]


@pytest.mark.parametrize("kind", ["AIServices", "OpenAI"])
def test_the_life_of_an_account(az, rg, create, name, kind):
    made = create(name, kind)
    assert (made["kind"], made["sku"]["name"], made["location"]) == (kind, "S0", "westus")
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert made["properties"]["endpoint"].startswith(f"https://{name}.cognitiveservices.")
    # Speech, Content Safety and OpenAI stand behind one account (mission.md B1).
    assert len(made["properties"]["endpoints"]) >= 3
    assert az.ok(*ACCOUNT, "show", "-g", rg, "-n", name)["id"] == made["id"]
    assert name in az.ok(*ACCOUNT, "list", "-g", rg, "--query", "[].name")
    tagged = az.ok(*ACCOUNT, "update", "-g", rg, "-n", name, "--tags", "team=red")
    assert tagged["tags"] == {"team": "red"}
    az.ok(*ACCOUNT, "delete", "-g", rg, "-n", name)
    assert az.run(*ACCOUNT, "show", "-g", rg, "-n", name).code == 3


def test_keys_are_told_and_renewed(az, on):
    def keys(*command):
        found = az.ok(*ACCOUNT, "keys", *command, *on)
        SECRETS.add(*found.values())
        return found

    before = keys("list")
    after = keys("regenerate", "--key-name", "key1")
    assert after["key1"] != before["key1"] and after["key2"] == before["key2"]
    assert keys("list") == after


def test_a_deleted_account_comes_back_with_its_keys_or_is_purged(az, rg, create, name):
    keys = ("keys", "list", "-g", rg, "-n", name)
    made = create(name)
    before = az.ok(*ACCOUNT, *keys)
    SECRETS.add(*before.values())
    where = ["-g", rg, "-n", name, "-l", "westus"]
    az.ok(*ACCOUNT, "delete", "-g", rg, "-n", name)
    assert name in az.ok(*ACCOUNT, "list-deleted", "--query", "[].name")
    assert az.ok(*ACCOUNT, "show-deleted", *where)["kind"] == made["kind"]
    back = az.ok(*ACCOUNT, "recover", *where)
    assert (back["id"], back["kind"]) == (made["id"], made["kind"])
    assert az.ok(*ACCOUNT, *keys) == before
    az.ok(*ACCOUNT, "delete", "-g", rg, "-n", name)
    az.ok(*ACCOUNT, "purge", *where)
    assert az.run(*ACCOUNT, "show-deleted", *where).code == 3


def test_an_account_has_an_identity_and_lets_addresses_in(az, on):
    assigned = az.ok(*ACCOUNT, "identity", "assign", *on)
    assert assigned == az.ok(*ACCOUNT, "identity", "show", *on)
    assert assigned["principalId"]
    az.ok(*ACCOUNT, "network-rule", "add", *on, "--ip-address", "203.0.113.4")
    rules = az.ok(*ACCOUNT, "network-rule", "list", *on)
    assert [rule["value"] for rule in rules["ipRules"]] == ["203.0.113.4"]


def test_a_network_is_created_shown_changed_and_provisioned(az, on):
    """The same engine as behind a hub (mission.md W3)."""
    shown = az.ok(*NETWORK, "show", *on)["properties"]["managedNetwork"]
    assert (shown["isolationMode"], shown["firewallSku"]) == ("AllowOnlyApprovedOutbound", "Standard")
    assert shown["changeableIsolationModes"] == ["AllowInternetOutbound"]
    changed = az.ok(*NETWORK, "update", *on, "--firewall-sku", "Basic")["properties"]["managedNetwork"]
    assert (changed["isolationMode"], changed["firewallSku"]) == ("AllowOnlyApprovedOutbound", "Basic")
    status = az.ok(*NETWORK, "provision-network", *on)["status"]
    shown = az.ok(*NETWORK, "show", *on)["properties"]["managedNetwork"]["status"]["status"]
    # The kernel may come in between; what was said to be active is.
    assert status == shown or (status, shown) == ("Inactive", "Active")


def test_the_life_of_rules(az, on, rg):
    made = az.ok(*RULE, "set", *on, "--rule", "pypi", "--type", "fqdn", "--destination", "*.Pypi.org")
    assert made["properties"]["destination"] == "*.pypi.org"
    assert made["properties"]["category"] == "UserDefined"
    tag = '{"serviceTag": "AzureMonitor", "protocol": "TCP", "portRanges": "443"}'
    az.ok(*RULE, "set", *on, "--rule", "monitor", "--type", "servicetag", "--destination", tag)
    assert az.ok(*RULE, "show", *on, "--rule", "monitor")["properties"]["destination"]["serviceTag"] == "AzureMonitor"
    assert {"pypi", "monitor"} <= set(az.ok(*RULE, "list", *on, "--query", "[].name"))
    az.ok(*RULE, "remove", *on, "--rule", "pypi", "--yes")
    assert "pypi" not in az.ok(*RULE, "list", *on, "--query", "[].name")
    assert az.run(*RULE, "show", *on, "--rule", "pypi").code == 3


def test_many_rules_come_from_a_file(az, on, file):
    """One request after the other, as quick as az can."""
    rules = {f"bulk-{n}": {"type": "fqdn", "destination": f"bulk-{n}.example"} for n in range(20)}
    az.ok(*RULE, "bulk-set", *on, "--file", file({"rules": rules}))
    assert set(rules) <= set(az.ok(*RULE, "list", *on, "--query", "[].name"))


def test_refusals_are_those_of_a_hub(az, on):
    message = az.run(*RULE, "set", *on, "--rule", "bad", "--type", "fqdn", "--destination", "192.0.2.1").failed(
        "ValidationError"
    )
    assert "IP address" in message
    message = az.run(*RULE, "set", *on, "--rule", "bad", "--type", "fqdn",
                     "--destination", "x.blob.core.windows.net").failed("ValidationError")  # fmt: skip
    assert "Rule 'bad'" in message and "AllowOnlyApprovedOutbound" in message
    result = az.run(*NETWORK, "update", *on, "--managed-network", "disabled")
    assert result.code != 0


def test_a_model_is_deployed_on_paper(az, rg, unique):
    name = unique("ai")
    az.ok("cognitiveservices", "account", "create", "-g", rg, "-n", name, "--kind", "OpenAI", "--sku", "S0", "-l", "westus", "--yes")
    deployment = ["cognitiveservices", "account", "deployment"]
    made = az.ok(*deployment, "create", "-g", rg, "-n", name, "--deployment-name", "chat", "--model-name", "gpt-4o",
                 "--model-version", "2024-11-20", "--model-format", "OpenAI", "--sku-name", "Standard",
                 "--sku-capacity", "1")  # fmt: skip
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert az.ok(*deployment, "list", "-g", rg, "-n", name, "--query", "[].name") == ["chat"]


def test_what_an_account_may_and_uses_is_listed(az, on):
    assert az.ok(*ACCOUNT, "list-skus", *on)["value"][0]["sku"]["name"] == "S0"
    assert az.ok(*ACCOUNT, "list-usage", *on) == [], "nothing runs behind an account"
    assert az.ok(*ACCOUNT, "list-models", *on) == [], "Bastide has no models of its own"


def test_an_account_has_projects_once_it_allows_them(az, rg, create, name, tmp_path):
    create(name)
    project = [*ACCOUNT, "project"]
    of = ["-g", rg, "-n", name, "--project-name", "one"]
    made = az.ok(*project, "create", *of, "-l", "westus", "--display-name", "One")
    assert made["properties"]["displayName"] == "One" and made["identity"]["principalId"]
    assert az.ok(*project, "list", "-g", rg, "-n", name, "--query", "length(@)") == 1
    az.ok(*project, "delete", *of)
    assert az.run(*project, "show", *of).code == 3


def test_a_connection_of_an_account_shows_no_key(az, rg, create, name, tmp_path):
    account = create(name)["id"]
    key = "a-key-of-somebody-elses"
    SECRETS.add(key)
    file = tmp_path / "connection.json"
    properties = {
        "category": "CustomKeys", "authType": "ApiKey", "target": "https://api.example", "credentials": {"key": key},
    }  # fmt: skip
    file.write_text(json.dumps({"properties": properties}))
    connection = [*ACCOUNT, "connection"]
    of = ["-g", rg, "-n", name, "--connection-name", "out"]
    # az itself knows only kinds of connections that it can build from a few words.
    made = az.ok("rest", "--method", "put", "--body", f"@{file}",
                 "--url", f"{account}/connections/out?api-version=2025-06-01")  # fmt: skip
    assert made["properties"]["target"] == "https://api.example"
    assert key not in json.dumps(az.ok(*connection, "show", *of))
    assert az.ok(*connection, "list", "-g", rg, "-n", name, "--query", "[].name") == ["out"]
    az.ok(*connection, "delete", *of)
