"""`az provider`: what this Bastide implements, and how it says so."""

import pytest

NAMESPACES = ["Microsoft.ManagedIdentity", "Microsoft.MachineLearningServices"]


def test_providers_are_listed_with_their_state(az):
    providers = {provider["namespace"]: provider for provider in az.ok("provider", "list")}
    assert {*NAMESPACES, "Microsoft.Resources"} <= set(providers)
    for provider in providers.values():
        assert provider["registrationState"] in ("Registered", "NotRegistered")


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_provider_names_types_versions_and_locations(az, bastide, namespace):
    provider = az.ok("provider", "show", "-n", namespace)
    assert provider["id"] == f"{bastide.subscription}/providers/{namespace}"
    assert provider["registrationState"] == "Registered"
    assert provider["resourceTypes"]
    for kind in provider["resourceTypes"]:
        assert kind["resourceType"] and kind["apiVersions"], kind
        assert isinstance(kind["locations"], list), kind


def test_a_provider_is_found_in_any_case(az):
    assert az.ok("provider", "show", "-n", "microsoft.managedidentity")["namespace"] == "Microsoft.ManagedIdentity"


def test_registering_and_unregistering_is_kept(az):
    az.ok("provider", "unregister", "-n", "Microsoft.ManagedIdentity", "--wait")
    assert state(az) == "Unregistered"
    az.ok("provider", "register", "-n", "Microsoft.ManagedIdentity", "--wait")
    assert state(az) == "Registered"


def test_a_namespace_nobody_implements_is_not_found(az):
    message = az.run("provider", "show", "-n", "Example.Castles").failed("InvalidResourceNamespace", exit_code=3)
    assert "Example.Castles" in message


def test_there_are_no_preview_features(az):
    assert az.ok("feature", "list") == []
    of_provider = ("--namespace", "Microsoft.MachineLearningServices")
    assert az.ok("feature", "list", *of_provider) == []
    az.run("feature", "show", *of_provider, "-n", "x").failed("FeatureNotFound", exit_code=3)


def state(az):
    return az.ok("provider", "show", "-n", "Microsoft.ManagedIdentity", "--query", "registrationState")
