"""`az tag`: tags of a group or a resource, merged, replaced and deleted."""

import pytest


@pytest.fixture(scope="module")
def group(az, unique):
    return az.ok("group", "create", "-n", unique("tags"), "-l", "westus")


@pytest.fixture
def target(az, group, unique, request):
    """An identity to tag."""
    return az.ok("identity", "create", "-g", group["name"], "-n", unique("tagged"), "--tags", "a=1", "b=2")["id"]


def tags(answer):
    return answer["properties"]["tags"]


def test_tags_are_read(az, target):
    answer = az.ok("tag", "list", "--resource-id", target)
    assert tags(answer) == {"a": "1", "b": "2"}
    assert answer["id"] == f"{target}/providers/Microsoft.Resources/tags/default"
    assert answer["type"] == "Microsoft.Resources/tags"


def test_create_replaces_everything(az, target):
    assert tags(az.ok("tag", "create", "--resource-id", target, "--tags", "c=3")) == {"c": "3"}
    assert tags(az.ok("tag", "list", "--resource-id", target)) == {"c": "3"}


def test_merge_adds_and_overwrites(az, target):
    merged = az.ok("tag", "update", "--resource-id", target, "--operation", "Merge", "--tags", "b=9", "c=3")
    assert tags(merged) == {"a": "1", "b": "9", "c": "3"}


def test_replace_leaves_only_the_new_ones(az, target):
    replaced = az.ok("tag", "update", "--resource-id", target, "--operation", "Replace", "--tags", "z=26")
    assert tags(replaced) == {"z": "26"}


def test_delete_takes_the_named_pairs_away(az, target):
    left = az.ok("tag", "update", "--resource-id", target, "--operation", "Delete", "--tags", "a=1")
    assert tags(left) == {"b": "2"}


def test_deleting_the_tags_leaves_the_resource(az, target):
    az.ok("tag", "delete", "--resource-id", target, "-y")
    assert tags(az.ok("tag", "list", "--resource-id", target)) == {}
    assert az.ok("resource", "show", "--ids", target)["id"] == target


def test_tags_stand_on_the_resource_too(az, target):
    az.ok("tag", "update", "--resource-id", target, "--operation", "Merge", "--tags", "c=3")
    assert az.ok("resource", "show", "--ids", target)["tags"] == {"a": "1", "b": "2", "c": "3"}


def test_a_group_is_tagged_like_anything_else(az, unique):
    group = az.ok("group", "create", "-n", unique("tags"), "-l", "westus")
    az.ok("tag", "update", "--resource-id", group["id"], "--operation", "Merge", "--tags", "owner=me")
    assert az.ok("group", "show", "-n", group["name"])["tags"] == {"owner": "me"}


def test_a_subscription_is_tagged_too(az, bastide):
    az.ok("tag", "update", "--resource-id", bastide.subscription, "--operation", "Merge", "--tags", "house=bastide")
    assert tags(az.ok("tag", "list", "--resource-id", bastide.subscription))["house"] == "bastide"


def test_the_names_in_use_are_counted(az, group, unique):
    name = unique("tag")
    az.ok("identity", "create", "-g", group["name"], "-n", unique("tagged"), "--tags", f"{name}=one")
    az.ok("identity", "create", "-g", group["name"], "-n", unique("tagged"), "--tags", f"{name}=two")
    (entry,) = [entry for entry in az.ok("tag", "list") if entry["tagName"] == name]
    assert entry["count"]["value"] == 2
    assert sorted(value["tagValue"] for value in entry["values"]) == ["one", "two"]


def test_tags_of_nothing_are_not_found(az, group):
    missing = f"{group['id']}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nobody-made-this"
    az.run("tag", "update", "--resource-id", missing, "--operation", "Merge", "--tags", "a=1").failed(
        "ResourceNotFound", exit_code=3
    )
