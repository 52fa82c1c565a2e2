"""`az login --service-principal`: by secret, by certificate, and what a person is told when it fails."""

import uuid

import pytest
from support import graph
from support.az import CLOUD
from support.certificates import self_signed


def test_a_secret_logs_in_and_the_subscription_is_found(fresh_az, bastide):
    who = bastide.bootstrap
    az = fresh_az().register_cloud()
    accounts = az.ok(
        "login", "--service-principal", "-u", who.client_id, "-p", who.client_secret, "--tenant", who.tenant_id
    )  # fmt: skip
    assert [account["id"] for account in accounts] == [who.subscription_id]
    (account,) = accounts
    assert account["state"] == "Enabled"
    assert account["tenantId"] == who.tenant_id
    assert account["cloudName"] == CLOUD
    assert account["user"] == {"name": who.client_id, "type": "servicePrincipal"}


def test_the_other_route_family_logs_in_when_instance_discovery_is_off(fresh_az, bastide):
    """Without the `/adfs` override the authority is the metadata's loginEndpoint and its `/{tenant}/v2.0` routes."""
    az = fresh_az(AZURE_CORE_INSTANCE_DISCOVERY="false")
    az.ok("cloud", "register", "-n", CLOUD, "--endpoint-resource-manager", bastide.endpoint)
    az.ok("cloud", "set", "-n", CLOUD)
    az.login()
    assert az.ok("account", "show")["id"] == bastide.bootstrap.subscription_id
    assert az.ok("group", "exists", "-n", "no-such-group") is False


def test_a_subscription_can_be_named_without_looking_for_others(fresh_az, bastide):
    who = bastide.bootstrap
    az = fresh_az().register_cloud()
    (account,) = az.ok(
        "login", "--service-principal", "-u", who.client_id, "-p", who.client_secret, "--tenant", who.tenant_id,
        "--skip-subscription-discovery", "--subscription", who.subscription_id,
    )  # fmt: skip
    assert account["id"] == who.subscription_id


def test_a_wrong_secret_is_refused_with_a_sentence_and_without_the_secret(fresh_az, bastide):
    who = bastide.bootstrap
    az = fresh_az().register_cloud()
    wrong = f"wrong-{uuid.uuid4()}"
    result = az.run("login", "--service-principal", "-u", who.client_id, "-p", wrong, "--tenant", who.tenant_id)
    assert result.code == 1, result
    assert "AADSTS7000215" in result.stderr, result
    # What az adds by itself when the error code is the right one.
    assert "The error may be caused by passing a service principal certificate with --password" in result.stderr
    assert wrong not in result.stderr


def test_an_unknown_client_is_refused_as_one(fresh_az, bastide):
    az = fresh_az().register_cloud()
    stranger = str(uuid.uuid4())
    result = az.run(
        "login", "--service-principal", "-u", stranger, "-p", "any-secret-at-all",
        "--tenant", bastide.bootstrap.tenant_id,
    )  # fmt: skip
    assert result.code == 1, result
    assert "AADSTS700016" in result.stderr, result
    assert "any-secret-at-all" not in result.stderr


def test_nobody_is_logged_in_after_a_refusal(fresh_az, bastide):
    who = bastide.bootstrap
    az = fresh_az().register_cloud()
    az.run("login", "--service-principal", "-u", who.client_id, "-p", "not-the-secret", "--tenant", who.tenant_id)
    result = az.run("group", "list")
    assert result.code == 1
    assert "az login" in result.stderr


@pytest.fixture(scope="module")
def certified(bastide):
    """A certificate that the bootstrap client may log in with."""
    certificate = self_signed("bastide-client")
    graph.add_certificate(bastide, bastide.bootstrap.client_id, certificate)
    return certificate


def test_a_certificate_logs_in(fresh_az, bastide, certified, tmp_path):
    who = bastide.bootstrap
    file = tmp_path / "client.pem"
    file.write_text(certified.key_pem + certified.certificate_pem)
    az = fresh_az().register_cloud()
    (account,) = az.ok(
        "login", "--service-principal", "-u", who.client_id, "--certificate", str(file), "--tenant", who.tenant_id
    )  # fmt: skip
    assert account["id"] == who.subscription_id
    assert isinstance(az.ok("group", "list"), list)


def test_a_certificate_nobody_registered_is_refused(fresh_az, bastide, certified, tmp_path):
    who = bastide.bootstrap
    stranger = self_signed("bastide-client")
    file = tmp_path / "stranger.pem"
    file.write_text(stranger.key_pem + stranger.certificate_pem)
    az = fresh_az().register_cloud()
    result = az.run(
        "login", "--service-principal", "-u", who.client_id, "--certificate", str(file), "--tenant", who.tenant_id
    )  # fmt: skip
    assert result.code == 1, result
    assert "AADSTS700027" in result.stderr, result


def test_the_registered_certificate_with_another_key_is_refused(fresh_az, bastide, certified, tmp_path):
    """The thumbprint is public; only the key proves who one is."""
    who = bastide.bootstrap
    thief = self_signed("bastide-client")
    file = tmp_path / "thief.pem"
    file.write_text(thief.key_pem + certified.certificate_pem)
    az = fresh_az().register_cloud()
    result = az.run(
        "login", "--service-principal", "-u", who.client_id, "--certificate", str(file), "--tenant", who.tenant_id
    )  # fmt: skip
    assert result.code == 1, result
    assert az.run("account", "show").code == 1
