"""Cloud discovery: one object for today's clients, a list for older ones, and addresses that match literally."""

import pytest
import requests
from support import login


def metadata(bastide, version="2022-09-01", path="/metadata/endpoints", host=None):
    origin = f"https://{host}:{bastide.port}" if host else bastide.endpoint
    answer = requests.get(f"{origin}{path}", params={"api-version": version}, verify=bastide.ca_file, timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.json()


def test_newer_versions_get_one_object(bastide):
    document = metadata(bastide)
    assert isinstance(document, dict)
    assert document["resourceManager"].rstrip("/") == bastide.endpoint


def test_2019_gets_a_list_of_the_same_object(bastide):
    (document,) = metadata(bastide, "2019-05-01")
    assert document == metadata(bastide)


@pytest.mark.parametrize("path", ["//metadata/endpoints", "/metadata/endpoints/", "/Metadata/Endpoints"])
def test_any_spelling_of_the_path_finds_it(bastide, path):
    assert metadata(bastide, path=path) == metadata(bastide)


def test_no_token_is_needed_and_a_wrong_one_does_no_harm(bastide):
    answer = requests.get(
        f"{bastide.endpoint}/metadata/endpoints?api-version=2022-09-01",
        headers={"Authorization": "Bearer nonsense"}, verify=bastide.ca_file, timeout=10,
    )  # fmt: skip
    assert answer.status_code == 200


def test_the_fields_that_az_and_the_sdk_read_are_there(bastide):
    document = metadata(bastide)
    for field in (
        "name", "resourceManager", "portal", "gallery", "batch", "media", "graphAudience", "microsoftGraphResourceId",
        "sqlManagement", "vmImageAliasDoc", "activeDirectoryDataLake", "appInsightsResourceId",
        "logAnalyticsResourceId", "synapseAnalyticsResourceId",
    ):  # fmt: skip
        assert isinstance(document.get(field), str), field
    assert document["authentication"]["loginEndpoint"].startswith(bastide.endpoint)
    assert document["authentication"]["audiences"][0]
    assert document["authentication"]["tenant"]
    for suffix in ("storage", "keyVaultDns", "mhsmDns", "acrLoginServer", "sqlServerHostname"):
        assert isinstance(document["suffixes"].get(suffix), str), suffix


def test_the_name_is_not_one_that_the_clients_have_built_in(bastide):
    """For a built-in name the SDK silently uses the public cloud's addresses."""
    assert metadata(bastide)["name"] not in ("AzureCloud", "AzureChinaCloud", "AzureUSGovernment")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_every_address_is_on_the_origin_that_was_asked(bastide, host):
    """The SDK looks for `resourceManager` as a substring of the URL it asked; a mismatch means the public cloud."""
    document = metadata(bastide, host=host)
    assert document["resourceManager"].rstrip("/") == f"https://{host}:{bastide.port}"
    assert document["authentication"]["loginEndpoint"].startswith(f"https://{host}:{bastide.port}")
    assert document["microsoftGraphResourceId"].startswith(f"https://{host}:{bastide.port}")


def test_the_audience_is_one_the_token_service_knows(bastide):
    for audience in metadata(bastide)["authentication"]["audiences"]:
        answer = login.client_credentials(bastide, scope=f"{audience}/.default")
        assert answer.status_code == 200, f"{audience}: {answer.text}"


def test_it_is_cheap(bastide):
    """The SDK asks about ten times for each client it makes."""
    with requests.Session() as session:
        session.verify = bastide.ca_file
        times = [
            session.get(
                f"{bastide.endpoint}/metadata/endpoints?api-version=2019-05-01", timeout=10
            ).elapsed.total_seconds()
            for _ in range(50)
        ]
    assert sorted(times)[25] < 0.02


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_only_read(bastide, method):
    answer = requests.request(method, f"{bastide.endpoint}/metadata/endpoints", verify=bastide.ca_file, timeout=10)
    assert answer.status_code == 405
