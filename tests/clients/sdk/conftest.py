"""Fixtures of the SDK suites: an `MLClient` on the resource group of a module."""

import pytest
from support import hub, sdk


@pytest.fixture(scope="module")
def exported(bastide):
    """The module's tests run in a process that evaluated `bastide env python`."""
    with sdk.exported(bastide):
        yield


@pytest.fixture(scope="module")
def ml(exported, bastide, shared_group):
    return sdk.ml_client(bastide, shared_group)


@pytest.fixture
def name(unique):
    """A name for one workspace; the resources made with it derive theirs from it."""
    return unique("hub")


@pytest.fixture
def made(wire, shared_group, name) -> str:
    """The id of a plain hub that is there already, for tests of what comes after its creation."""
    return hub.create(wire, f"{shared_group}/{hub.KIND}/{name}")["id"]


@pytest.fixture
def resource(wire, shared_group, unique):
    """Makes what hubs are associated with; `resource("storage")["id"]`."""
    return lambda kind, **changes: hub.associated(wire, shared_group, unique, kind, **changes)
