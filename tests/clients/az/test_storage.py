"""`az storage`: accounts, keys and containers. The management plane alone; nothing holds blobs yet, and it is said."""

import pytest
from support.secrets import SECRETS


@pytest.fixture
def name(plain):
    return plain("sa")


@pytest.fixture
def account(az, rg, name):
    return az.ok("storage", "account", "create", "-g", rg, "-n", name, "--sku", "Standard_LRS")


def test_the_life_of_an_account(az, rg, name, account):
    assert (account["kind"], account["sku"]["name"], account["location"]) == ("StorageV2", "Standard_LRS", "westus")
    assert account["provisioningState"] == "Succeeded"
    assert account["primaryEndpoints"]["blob"].startswith(f"https://{name}.blob.")
    assert az.ok("storage", "account", "show", "-g", rg, "-n", name) == account
    listed = az.ok("storage", "account", "list", "-g", rg, "--query", "[].name")
    assert name in listed
    taken = az.ok("storage", "account", "check-name", "-n", name)
    assert (taken["nameAvailable"], taken["reason"]) == (False, "AlreadyExists")
    az.ok("storage", "account", "delete", "-g", rg, "-n", name, "-y")
    assert az.run("storage", "account", "show", "-g", rg, "-n", name).code == 3


def test_an_account_is_closed_to_the_public(az, rg, name, account):
    closed = az.ok("storage", "account", "update", "-g", rg, "-n", name, "--public-network-access", "Disabled")
    assert closed["publicNetworkAccess"] == "Disabled"
    assert closed["primaryEndpoints"] == account["primaryEndpoints"]


def test_addresses_are_let_in_by_rules(az, rg, name, account):
    az.ok("storage", "account", "network-rule", "add", "-g", rg, "-n", name, "--ip-address", "203.0.113.4")
    rules = az.ok("storage", "account", "network-rule", "list", "-g", rg, "-n", name)
    assert [rule["ipAddressOrRange"] for rule in rules["ipRules"]] == ["203.0.113.4"]


def test_keys_are_told_and_renewed(az, rg, name, account):
    def keys(*command):
        found = az.ok("storage", "account", "keys", *command, "-g", rg, "-n", name)
        SECRETS.add(*(key["value"] for key in found))
        return {key["keyName"]: key["value"] for key in found}

    before = keys("list")
    assert set(before) == {"key1", "key2"}
    after = keys("renew", "--key", "primary")
    assert after["key1"] != before["key1"] and after["key2"] == before["key2"]
    assert keys("list") == after


def test_the_life_of_a_container(az, rg, name, account):
    of = ["-g", rg, "--storage-account", name]
    made = az.ok("storage", "container-rm", "create", *of, "-n", "models")
    assert made["id"].endswith(f"/storageAccounts/{name}/blobServices/default/containers/models")
    assert az.ok("storage", "container-rm", "list", *of, "--query", "[].name") == ["models"]
    changed = az.ok("storage", "container-rm", "update", *of, "-n", "models", "--metadata", "team=red")
    assert changed["metadata"] == {"team": "red"}
    az.ok("storage", "container-rm", "delete", *of, "-n", "models", "-y")
    assert az.ok("storage", "container-rm", "exists", *of, "-n", "models") == {"exists": False}


def test_an_account_for_a_data_lake_says_so(az, rg, plain):
    made = az.ok("storage", "account", "create", "-g", rg, "-n", plain("lake"), "--sku", "Standard_LRS",
                 "--hns", "true")  # fmt: skip
    assert made["isHnsEnabled"] is True


def test_a_name_that_cannot_be_is_refused(az, rg):
    result = az.run("storage", "account", "create", "-g", rg, "-n", "Not-A-Name", "--sku", "Standard_LRS")
    assert result.code == 1, result
    assert "3 to 24" in result.stderr or "between 3 and 24" in result.stderr, result


def test_nothing_pretends_to_hold_blobs(az, rg, account):
    shown = az.ok("rest", "--method", "get", "--url", f"{account['id']}?api-version=2025-08-01")
    assert shown["bastide"]["dataPlane"] == "none"
