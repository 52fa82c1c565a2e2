"""`api-version`: required, any date from 2014 on, and nothing else."""

import pytest
from support.wire import IDENTITIES, refused

PATHS = [
    "/subscriptions",
    "/tenants",
    "{subscription}",
    "{subscription}/locations",
    "{subscription}/resources",
    "{subscription}/providers",
    "{subscription}/tagNames",
    "{subscription}/resourceGroups",
    "{subscription}/resourceGroups/any",
    "{subscription}/resourceGroups/any/providers/Microsoft.ManagedIdentity/userAssignedIdentities/any",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_needs_one(wire, bastide, path):
    path = path.format(subscription=bastide.subscription)
    refused(wire.get(path, version=None), 400, "MissingApiVersionParameter")
    refused(wire.get(path, version=""), 400, "MissingApiVersionParameter")


def test_the_sentence_says_how_to_give_one(wire):
    error = refused(wire.get("/subscriptions", version=None), 400, "MissingApiVersionParameter")
    assert error["message"] == "The api-version query parameter (?api-version=) is required for all requests."


@pytest.mark.parametrize(
    "version",
    [
        "latest", "1", "2024", "2024-13-01", "2024-02-30", "2013-12-31", "1999-01-01", "2024-1-1", "24-01-01",
        "2024-11-01-nightly", "2024-11-01-preview-preview", " 2024-11-01", "2024-11-01 ", "2024/11/01",
        "2024-11-01T00:00:00Z", "2024-11-01'--", "٢٠٢٤-11-01", "\u0000", "a" * 1000,
    ],
)  # fmt: skip
def test_what_is_not_a_date_is_refused(wire, bastide, version):
    refused(wire.get(bastide.subscription, version=version), 400, "InvalidApiVersionParameter")


def test_two_of_them_are_refused_because_two_readers_could_choose_differently(wire, bastide):
    target = f"{bastide.subscription}?api-version=2022-12-01&api-version=2024-11-01"
    refused(wire.raw("GET", target), 400, "InvalidApiVersionParameter")


@pytest.mark.parametrize(
    "version", ["2014-01-01", "2015-11-01", "2024-11-01", "2024-11-01-preview", "2023-11-01-PREVIEW", "2031-05-05"]
)
def test_any_date_is_accepted_for_any_type(wire, shared_group, version):
    """az speaks very new versions next to very old ones; reading never depends on a list of known ones."""
    assert wire.get(shared_group, version).status_code == 200
    path = f"{shared_group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/v{version.lower()}"
    assert wire.put(path, {"location": "westus"}, version).status_code == 201
    assert wire.get(path, version).status_code == 200
    assert wire.get(path, IDENTITIES).status_code == 200
