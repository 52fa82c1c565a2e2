"""Fixtures of the client suites: one private Bastide a worker, a fresh az a module."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from support import login
from support.az import Az
from support.secrets import suite_dir
from support.server import Bastide, binary, network
from support.wire import Wire

_numbers = itertools.count(1)


def pytest_report_header():
    return [f"bastide: {binary()}", f"network: {network()}"]


@pytest.fixture(scope="session")
def homes(worker_id):
    """Gives out a folder for each server; kept for the secrecy suite when the runner asks for it."""
    keep = suite_dir()
    folder = keep / "servers" if keep else Path(tempfile.mkdtemp(prefix="bastide-clients-"))
    if not keep:
        # Started by root, the server is a user of its own, who must find the way to its data.
        folder.chmod(0o711)
    yield lambda: folder / f"{worker_id}-{next(_numbers)}"
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def start_bastide(homes):
    """Starts Bastides with extra arguments for the tests that need their own; all end with the session."""
    started = []

    def start(*arguments: str, home: Path | None = None, **options) -> Bastide:
        bastide = Bastide(home or homes(), *arguments, **options)
        started.append(bastide)
        return bastide.start()

    yield start
    for bastide in started:
        bastide.close()


@pytest.fixture(scope="session")
def bastide(start_bastide) -> Bastide:
    """The Bastide most tests share. They keep out of each other's way by resource group names."""
    return start_bastide()


@pytest.fixture(scope="session")
def owner_token(bastide) -> str:
    return login.access_token(bastide)


@pytest.fixture(scope="session")
def wire(bastide, owner_token) -> Wire:
    """The wire as the bootstrap client, Owner of the subscription."""
    return Wire(bastide, owner_token)


@pytest.fixture(scope="session")
def anonymous(bastide) -> Wire:
    """The wire without a token."""
    return Wire(bastide, None)


@pytest.fixture(scope="module")
def fresh_az(bastide, tmp_path_factory):
    """Makes az instances nobody has used: no cloud registered, nobody logged in."""
    made = []

    def make(**environment: str) -> Az:
        made.append(Az(tmp_path_factory.mktemp("azure"), bastide, **environment))
        return made[-1]

    yield make
    for az in made:
        az.remember_tokens()


@pytest.fixture(scope="module")
def az(fresh_az) -> Az:
    """A fresh az that registered the cloud and logged in as the Owner."""
    return fresh_az().register_cloud().login()


@pytest.fixture(scope="session")
def unique(worker_id):
    """Names no other test uses: `unique("rg")` is `rg-gw0-7`."""
    return lambda stem: f"{stem}-{worker_id}-{next(_numbers)}"


@pytest.fixture
def group(wire, unique) -> str:
    """A resource group for one test; returns its id. Deleted afterwards."""
    path = f"{wire.server.subscription}/resourceGroups/{unique('rg')}"
    assert wire.put(path, {"location": "westus"}).status_code == 201
    yield path
    wire.delete(path)


@pytest.fixture(scope="module")
def shared_group(wire, unique) -> str:
    """A resource group for the tests of one module; returns its id."""
    path = f"{wire.server.subscription}/resourceGroups/{unique('rg')}"
    assert wire.put(path, {"location": "westus"}).status_code == 201
    yield path
    wire.delete(path)
