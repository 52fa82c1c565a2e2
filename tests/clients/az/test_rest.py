"""`az rest`: the wire itself, with the token added when the URL is one of the cloud's."""

import json

import pytest

GROUP = "/subscriptions/{subscriptionId}/resourceGroups"


@pytest.fixture
def url(unique):
    return f"{GROUP}/{unique('rest')}?api-version=2024-11-01"


def test_every_verb_reaches_the_server(az, url):
    body = json.dumps({"location": "westus", "tags": {"a": "1"}})
    created = az.ok("rest", "--method", "put", "--url", url, "--body", body)
    assert created["tags"] == {"a": "1"}
    assert az.ok("rest", "--method", "get", "--url", url) == created
    patched = az.ok("rest", "--method", "patch", "--url", url, "--body", '{"tags":{"b":"2"}}')
    assert patched["tags"] == {"b": "2"}
    assert az.run("rest", "--method", "head", "--url", url).code == 0
    az.ok("rest", "--method", "delete", "--url", url)


def test_post_calls_an_action(az):
    answer = az.ok(
        "rest", "--method", "post",
        "--url", "/subscriptions/{subscriptionId}/providers/Microsoft.ManagedIdentity/register?api-version=2024-11-01",
    )  # fmt: skip
    assert answer["registrationState"] == "Registered"


def test_an_absolute_url_gets_the_token_too(az, bastide):
    answer = az.ok("rest", "--method", "get", "--url", f"{bastide.endpoint}/subscriptions?api-version=2022-12-01")
    assert [entry["subscriptionId"] for entry in answer["value"]] == [bastide.bootstrap.subscription_id]


def test_parameters_and_a_double_slash(az, bastide):
    answer = az.ok(
        "rest", "--method", "get", "--url", f"{bastide.endpoint}//subscriptions/{{subscriptionId}}/resources/",
        "--url-parameters", "api-version=2024-11-01", "$top=1",
    )  # fmt: skip
    assert isinstance(answer["value"], list)


def test_a_list_can_be_read_as_a_table_or_as_lines(az):
    result = az.run("rest", "--method", "get", "--url", "/subscriptions?api-version=2022-12-01",
                    "--query", "value[].subscriptionId", "-o", "tsv")  # fmt: skip
    assert (result.code, len(result.stdout.split())) == (0, 1)


def test_a_missing_api_version_is_explained(az, bastide):
    result = az.run(
        "rest", "--method", "get", "--url", f"{bastide.endpoint}/subscriptions/{{subscriptionId}}/resources"
    )
    assert result.code == 1
    assert "MissingApiVersionParameter" in result.stderr


def test_broken_json_is_explained(az, url):
    result = az.run("rest", "--method", "put", "--url", url, "--body", '{"location": ')
    assert result.code == 1
    assert "InvalidRequestContent" in result.stderr


def test_without_a_token_nothing_is_said_but_who_to_ask(az, bastide):
    result = az.run(
        "rest", "--method", "get", "--skip-authorization-header",
        "--url", f"{bastide.endpoint}/subscriptions?api-version=2022-12-01",
    )  # fmt: skip
    assert result.code == 1
    assert "AuthenticationFailed" in result.stderr
    assert bastide.bootstrap.subscription_id not in result.stderr
