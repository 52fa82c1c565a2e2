"""`az cloud register`: how a stock az learns where this Bastide is."""

import json

import pytest
from support.az import CLOUD
from support.certificates import self_signed


def test_a_cloud_registers_by_discovery_from_the_resource_manager_endpoint_alone(fresh_az, bastide):
    az = fresh_az()
    az.ok("cloud", "register", "-n", CLOUD, "--endpoint-resource-manager", bastide.endpoint)
    cloud = az.ok("cloud", "show", "-n", CLOUD)
    assert cloud["name"] == CLOUD
    assert cloud["isActive"] is False
    endpoints = cloud["endpoints"]
    assert endpoints["resourceManager"].rstrip("/") == bastide.endpoint
    assert endpoints["activeDirectory"].startswith(bastide.endpoint)
    assert endpoints["activeDirectoryResourceId"].rstrip("/").startswith(bastide.endpoint)
    assert endpoints["microsoftGraphResourceId"].startswith(bastide.endpoint)


def test_suffixes_carry_the_port_because_az_appends_them_to_names(fresh_az, bastide):
    az = fresh_az().register_cloud()
    suffixes = az.ok("cloud", "show", "-n", CLOUD)["suffixes"]
    for name in ("keyvaultDns", "storageEndpoint", "acrLoginServerEndpoint"):
        assert suffixes[name].endswith(f":{bastide.port}"), f"{name}: {suffixes[name]}"


def test_the_recipe_overrides_the_authority_with_the_adfs_flavour(fresh_az, bastide):
    az = fresh_az().register_cloud()
    cloud = az.ok("cloud", "show")
    assert cloud["isActive"] is True
    assert cloud["endpoints"]["activeDirectory"] == f"{bastide.endpoint}/adfs"


def test_an_endpoint_with_a_trailing_slash_is_discovered_all_the_same(fresh_az, bastide):
    """az appends `/metadata/endpoints` to the text it was given: the request is for `//metadata/endpoints`."""
    az = fresh_az()
    az.ok(
        "cloud", "register", "-n", CLOUD,
        "--endpoint-resource-manager", f"{bastide.endpoint}/",
        "--endpoint-active-directory", f"{bastide.endpoint}/adfs",
    )  # fmt: skip
    az.ok("cloud", "set", "-n", CLOUD)
    az.login()
    assert [account["id"] for account in az.ok("account", "list")] == [bastide.bootstrap.subscription_id]
    assert isinstance(az.ok("group", "list"), list)


def test_a_cloud_registers_without_discovery_from_a_configuration(fresh_az, bastide, owner_token):
    az = fresh_az()
    configuration = {
        "endpoints": {
            "resourceManager": bastide.endpoint,
            "activeDirectory": f"{bastide.endpoint}/adfs",
            "activeDirectoryResourceId": bastide.endpoint,
            "microsoftGraphResourceId": f"{bastide.endpoint}/graph/",
        },
        "suffixes": {"keyvaultDns": f".vault.bastide.localhost:{bastide.port}"},
    }
    az.ok("cloud", "register", "-n", CLOUD, "--skip-endpoint-discovery", "--cloud-config", json.dumps(configuration))
    az.ok("cloud", "set", "-n", CLOUD)
    az.login()
    assert az.ok("account", "show")["environmentName"] == CLOUD


def test_a_metadata_url_in_the_environment_needs_no_registration(fresh_az, bastide):
    """`ARM_CLOUD_METADATA_URL` wants the list form, and this one call trusts `SSL_CERT_FILE`."""
    az = fresh_az(
        ARM_CLOUD_METADATA_URL=f"{bastide.endpoint}/metadata/endpoints?api-version=2019-05-01",
        SSL_CERT_FILE=bastide.ca_file,
    )
    names = [cloud["name"] for cloud in az.ok("cloud", "list")]
    assert names and not {"AzureCloud", "AzureChinaCloud", "AzureUSGovernment"} & set(names)
    cached = json.loads((az.config_dir / "cloudEndpoints.json").read_text("utf-8-sig"))
    assert cached


def test_a_cloud_is_left_and_forgotten(fresh_az):
    az = fresh_az().register_cloud()
    az.ok("cloud", "set", "-n", "AzureCloud")
    az.ok("cloud", "unregister", "-n", CLOUD)
    assert CLOUD not in [cloud["name"] for cloud in az.ok("cloud", "list")]


@pytest.mark.parametrize("variable", ["", "/etc/ssl/certs/ca-certificates.crt"])
def test_without_the_right_ca_nothing_is_registered(fresh_az, bastide, variable):
    az = fresh_az(REQUESTS_CA_BUNDLE=variable)
    result = az.run("cloud", "register", "-n", CLOUD, "--endpoint-resource-manager", bastide.endpoint)
    assert result.code == 1, result
    assert "CERTIFICATE_VERIFY_FAILED" in result.stderr.upper().replace(" ", "_"), result


def test_with_the_ca_of_another_bastide_no_command_is_sent(fresh_az, bastide, tmp_path):
    """The wrong CA stops az before it sends a token to whoever answers."""
    az = fresh_az().register_cloud().login()
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(self_signed("Somebody else's CA").certificate_pem)
    result = az.run("group", "list", env={"REQUESTS_CA_BUNDLE": str(stranger)})
    assert result.code == 1, result
    assert "certificate verify failed" in result.stderr.lower(), result
