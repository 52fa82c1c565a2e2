"""`az keyvault`: vaults. The management plane alone: keys and secrets come with the vault itself."""

import pytest


@pytest.fixture
def name(unique):
    return unique("kv")


@pytest.fixture
def vault(az, rg, name):
    return az.ok("keyvault", "create", "-g", rg, "-n", name, "-l", "westus")


def test_the_life_of_a_vault(az, bastide, rg, name, vault):
    properties = vault["properties"]
    assert properties["tenantId"] == bastide.bootstrap.tenant_id
    assert properties["vaultUri"].startswith(f"https://{name}.vault.")
    assert properties["enableRbacAuthorization"] is True
    assert properties["enableSoftDelete"] is True
    # az finds a vault by its name alone, among all resources of the subscription.
    assert az.ok("keyvault", "show", "-n", name)["id"] == vault["id"]
    assert name in az.ok("keyvault", "list", "-g", rg, "--query", "[].name")
    az.ok("keyvault", "delete", "-g", rg, "-n", name)
    assert az.run("keyvault", "show", "-g", rg, "-n", name).code == 3


def test_a_vault_is_closed_to_the_public_but_for_some(az, rg, name, vault):
    closed = az.ok("keyvault", "update", "-g", rg, "-n", name, "--public-network-access", "Disabled")
    assert closed["properties"]["publicNetworkAccess"] == "Disabled"
    ruled = az.ok("keyvault", "network-rule", "add", "-g", rg, "-n", name, "--ip-address", "203.0.113.4")
    assert [rule["value"] for rule in ruled["properties"]["networkAcls"]["ipRules"]] == ["203.0.113.4"]
    assert ruled["properties"]["publicNetworkAccess"] == "Disabled"


def test_policies_are_kept_where_roles_do_not_decide(az, rg, name):
    az.ok("keyvault", "create", "-g", rg, "-n", name, "-l", "westus", "--enable-rbac-authorization", "false",
          "--no-self-perms", "true")  # fmt: skip
    somebody = "11111111-2222-3333-4444-555555555555"
    changed = az.ok("keyvault", "set-policy", "-g", rg, "-n", name, "--object-id", somebody,
                    "--secret-permissions", "get", "list")  # fmt: skip
    (policy,) = changed["properties"]["accessPolicies"]
    assert policy["objectId"] == somebody
    # az keeps them in a set.
    assert sorted(policy["permissions"]["secrets"]) == ["get", "list"]


def test_purge_protection_is_never_taken_back(az, rg, name):
    az.ok("keyvault", "create", "-g", rg, "-n", name, "-l", "westus", "--enable-purge-protection", "true")
    result = az.run("resource", "update", "-g", rg, "-n", name, "--resource-type", "Microsoft.KeyVault/vaults",
                    "--set", "properties.enablePurgeProtection=false", "--api-version", "2024-11-01")  # fmt: skip
    assert result.code == 1, result
    assert "enablePurgeProtection" in result.stderr, result


def test_a_deleted_vault_is_kept_and_comes_back(az, rg, name, vault):
    az.ok("keyvault", "delete", "-g", rg, "-n", name)
    # az asks for managed HSMs, too, where no type is named.
    assert name in az.ok("keyvault", "list-deleted", "--query", "[].name")
    shown = az.ok("keyvault", "show-deleted", "-n", name)
    assert shown["properties"]["vaultId"] == vault["id"]
    assert az.ok("keyvault", "show-deleted", "-n", name, "-l", "westus")["id"] == shown["id"]
    back = az.ok("keyvault", "recover", "-n", name)
    assert back["id"] == vault["id"]
    assert back["properties"]["vaultUri"] == vault["properties"]["vaultUri"]
    assert back["properties"]["enableRbacAuthorization"] is True, "as it was, not as the request had it"
    assert name not in az.ok("keyvault", "list-deleted", "--resource-type", "vault", "--query", "[].name")


def test_a_deleted_vault_is_purged_unless_it_was_protected(az, rg, name, vault, unique):
    az.ok("keyvault", "delete", "-g", rg, "-n", name)
    az.ok("keyvault", "purge", "-n", name, "-l", "westus")
    # az looks for it while it reads its arguments.
    az.run("keyvault", "show-deleted", "-n", name, "-l", "westus").failed("NotFound", exit_code=2)
    protected = unique("kv")
    az.ok("keyvault", "create", "-g", rg, "-n", protected, "-l", "westus", "--enable-purge-protection", "true")
    az.ok("keyvault", "delete", "-g", rg, "-n", protected)
    assert "purge protection" in az.run("keyvault", "purge", "-n", protected, "-l", "westus").failed("MethodNotAllowed")


def test_nothing_pretends_to_keep_secrets(az, vault):
    shown = az.ok("rest", "--method", "get", "--url", f"{vault['id']}?api-version=2024-11-01")
    assert shown["bastide"]["dataPlane"] == "none"
