"""Fixtures of the az suites that make resources."""

import json

import pytest


@pytest.fixture(scope="module")
def rg(az, unique):
    """The name of a resource group for the tests of one module."""
    name = unique("az")
    az.ok("group", "create", "-n", name, "-l", "westus")
    yield name
    az.run("group", "delete", "-n", name, "-y", "--no-wait")


@pytest.fixture
def plain(unique):
    """Names of letters and digits alone, as storage accounts and registries want them."""
    return lambda stem: "".join(character for character in unique(stem) if character.isalnum())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Writes a text, or a value as JSON, into a file of its own; returns the path."""

    def write(content):
        path = tmp_path_factory.mktemp("files") / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write
