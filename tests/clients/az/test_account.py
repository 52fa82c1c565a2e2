"""`az account`: subscriptions, locations and tokens."""

import base64
import json
import time

from support.secrets import SECRETS


def test_the_account_names_cloud_tenant_and_user(az, bastide):
    account = az.ok("account", "show")
    assert account["id"] == bastide.bootstrap.subscription_id
    assert account["tenantId"] == bastide.bootstrap.tenant_id
    assert account["environmentName"] == "Bastide"
    assert account["name"]


def test_accounts_are_listed_again_on_request(az, bastide):
    assert [a["id"] for a in az.ok("account", "list", "--refresh")] == [bastide.bootstrap.subscription_id]


def test_a_subscription_is_chosen_by_id_or_by_name(az, bastide):
    name = az.ok("account", "show")["name"]
    az.ok("account", "set", "-s", name)
    az.ok("account", "set", "-s", bastide.bootstrap.subscription_id)
    assert az.ok("account", "show")["id"] == bastide.bootstrap.subscription_id


def test_a_subscription_nobody_has_cannot_be_chosen(az):
    assert az.run("account", "set", "-s", "6f2c9e51-0000-4000-8000-000000000000").code == 1


def test_locations_have_the_fields_that_az_prints(az):
    locations = az.ok("account", "list-locations")
    assert len(locations) > 1
    for location in locations:
        assert location["name"] and location["displayName"] and location["regionalDisplayName"]
        assert location["metadata"]["regionType"] in ("Physical", "Logical")
    assert "westus" in [location["name"] for location in locations]


def test_tenants_are_listed(az, bastide):
    (tenant,) = az.ok("rest", "--method", "get", "--url", "/tenants?api-version=2022-12-01")["value"]
    assert tenant["tenantId"] == bastide.bootstrap.tenant_id
    assert tenant["id"] == f"/tenants/{bastide.bootstrap.tenant_id}"


def test_an_access_token_is_a_jwt_for_the_resource_manager(az, bastide):
    answer = az.ok("account", "get-access-token")
    SECRETS.add_jwt(answer["accessToken"])
    assert answer["tokenType"] == "Bearer"
    assert answer["subscription"] == bastide.bootstrap.subscription_id
    claims = payload(answer["accessToken"])
    assert claims["tid"] == bastide.bootstrap.tenant_id
    assert claims["aud"].rstrip("/").startswith("https://")
    assert 0 < claims["exp"] - time.time() <= 3600 * 24
    assert claims["oid"]


def test_a_token_for_another_resource_has_another_audience(az, bastide):
    answer = az.ok("account", "get-access-token", "--resource", f"{bastide.endpoint}/graph/")
    SECRETS.add_jwt(answer["accessToken"])
    assert payload(answer["accessToken"])["aud"].rstrip("/") == f"{bastide.endpoint}/graph"


def payload(token: str) -> dict:
    """The claims of a token, unverified."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
