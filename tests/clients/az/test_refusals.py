"""What a person sees when the answer is no: exit 1 or 3 and `(Code) sentence`, never a traceback."""

import json
import uuid

import pytest
from support import forge

SUBSCRIPTION = "/subscriptions/{subscriptionId}"
SUBSCRIPTIONS = "/subscriptions?api-version=2022-12-01"


def test_a_token_signed_by_somebody_else_is_refused(az, owner_token):
    result = az.rest_with(forge.resigned(owner_token), SUBSCRIPTIONS)
    assert result.code == 1, result
    assert "InvalidAuthenticationToken" in result.stderr, result
    assert "Traceback" not in result.stderr


def test_an_expired_token_is_refused_as_such(az, owner_token):
    """It is expired and also signed by somebody else; either reason is one to refuse it."""
    token = forge.resigned(owner_token, exp=1_700_000_000, iat=1_699_996_400, nbf=1_699_996_400)
    result = az.rest_with(token, SUBSCRIPTIONS)
    assert result.code == 1, result
    assert "AuthenticationToken" in result.stderr, result


def test_an_unknown_subscription_is_not_found(az, owner_token):
    url = f"/subscriptions/{uuid.uuid4()}/resourceGroups?api-version=2024-11-01"
    result = az.rest_with(owner_token, url)
    assert result.code != 0
    assert "SubscriptionNotFound" in result.stderr, result


def test_a_child_without_its_parent_names_the_parent(az, unique):
    group = unique("refusals")
    az.ok("group", "create", "-n", group, "-l", "westus")
    result = az.run(
        "rest", "--method", "put", "--body", json.dumps({"properties": {}}),
        "--url", f"{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices/workspaces/none"
        "/outboundRules/rule?api-version=2025-12-01",
    )  # fmt: skip
    assert result.code != 0
    assert "ParentResourceNotFound" in result.stderr or "InvalidResourceType" in result.stderr, result


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"location": 1}', "InvalidRequestContent"),
        ('{"location": "westus", "tags": ["a"]}', "InvalidRequestContent"),
        ("[]", "InvalidRequestContent"),
        ("{}", "LocationRequired"),
    ],
)
def test_a_bad_body_is_explained(az, unique, body, code):
    url = f"{SUBSCRIPTION}/resourceGroups/{unique('bad')}?api-version=2024-11-01"
    result = az.run("rest", "--method", "put", "--url", url, "--body", body)
    assert result.code == 1, result
    assert code in result.stderr, result
    assert "Traceback" not in result.stderr
