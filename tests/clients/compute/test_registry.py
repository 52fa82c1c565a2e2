"""A compute of an image from a registry: the administrator admits the registry, the node pulls, and nothing else is asked
(compute.md 1, "Root filesystems without a registry")."""

from __future__ import annotations

import pytest
from support.compute import Compute, make, make_hub
from support.registry import Registry, programs
from support.server import Bastide


@pytest.fixture(scope="module")
def registry():
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def image(registry):
    return registry.push("team/small", "1.0", programs("sh", "cat", "id") | {"etc/made": b"from the registry\n"})


def house(start_bastide, homes, by_file: str | None = None, *arguments: str) -> Bastide:
    home = homes()
    if by_file is not None:
        (home / "data").mkdir(parents=True)
        (home / "data").chmod(0o700)
        (home / "data" / "bastide.toml").write_text(by_file)
    server = start_bastide(*arguments, home=home)
    make_hub(server)
    return server


@pytest.fixture(scope="module")
def admitting(start_bastide, homes, registry):
    """A Bastide that was told of the registry by a flag."""
    return house(start_bastide, homes, None, "--image-registry", registry.host)


def of_image(server: Bastide, name: str, image: str) -> Compute:
    return make(server, name, "--image", image)


def test_a_compute_is_made_of_an_image_of_an_admitted_registry(admitting, image, registry):
    compute = of_image(admitting, "ci-pulled", image)
    done = compute.exec("sh", "-c", "cat /etc/made; echo $MADE_BY; id -u")
    assert (done.stdout, done.returncode) == (b"from the registry\nthe test\n1000\n", 0), done.stderr
    digest = compute.show()["os_image_metadata"]["current_image_version"]
    assert digest.startswith("sha256:")
    # What is there already is not pulled again; what the tag means now is asked.
    pulled = [path for path in registry.asked if "/blobs/" in path]
    again = of_image(admitting, "ci-again", image)
    assert again.show()["os_image_metadata"]["current_image_version"] == digest
    assert [path for path in registry.asked if "/blobs/" in path] == pulled


def test_the_registry_may_stand_in_the_file_of_settings(start_bastide, homes, image, registry):
    server = house(start_bastide, homes, f'image-registries = ["{registry.host}"]\n')
    assert of_image(server, "ci-by-file", image).exec("cat", "/etc/made").stdout == b"from the registry\n"


def test_an_image_that_is_not_there_is_said_to_be_missing(admitting, registry):
    wrong = Compute(admitting, "ci-wrong")
    image = f"{registry.host}/team/none:1.0"
    done = wrong.run("create", "--type", "ComputeInstance", "--image", image)
    assert done.returncode == 1 and b"see to its name and tag" in done.stderr, done.stderr


def test_a_registry_that_nobody_has_admitted_is_not_asked(hub, image, registry):
    before = len(registry.asked)
    compute = Compute(hub, "ci-elsewhere")
    done = compute.run("create", "--type", "ComputeInstance", "--image", image)
    assert done.returncode == 1 and b"image-registr" in done.stderr, done.stderr
    assert len(registry.asked) == before
    assert compute.run("delete", "--yes").returncode == 0
