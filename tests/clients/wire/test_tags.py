"""`Microsoft.Resources/tags/default` on the wire, and the names in use."""

import pytest
from support.wire import IDENTITIES, refused

TAGS = "providers/Microsoft.Resources/tags/default"


@pytest.fixture
def target(wire, group):
    path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/tagged"
    wire.put(path, {"location": "westus", "tags": {"a": "1", "b": "2"}}, IDENTITIES)
    return path


def tags(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["properties"]["tags"]


def test_an_answer_names_itself(wire, target):
    document = wire.get(f"{target}/{TAGS}").json()
    assert document == {
        "id": f"{target}/{TAGS}",
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": {"tags": {"a": "1", "b": "2"}},
    }


@pytest.mark.parametrize(
    ("operation", "given", "left"),
    [
        ("Merge", {"b": "9", "c": "3"}, {"a": "1", "b": "9", "c": "3"}),
        ("merge", {}, {"a": "1", "b": "2"}),
        ("Replace", {"z": "26"}, {"z": "26"}),
        ("Replace", {}, {}),
        ("Delete", {"a": "1"}, {"b": "2"}),
        ("Delete", {"a": "other"}, {"a": "1", "b": "2"}),
        ("Delete", {"none": "x"}, {"a": "1", "b": "2"}),
    ],
)
def test_the_three_operations(wire, target, operation, given, left):
    answer = wire.patch(f"{target}/{TAGS}", {"operation": operation, "properties": {"tags": given}})
    assert tags(answer) == left
    assert wire.get(target, IDENTITIES).json().get("tags", {}) == left


def test_a_tag_name_matches_in_any_case_and_keeps_its_spelling(wire, target):
    answer = wire.patch(f"{target}/{TAGS}", {"operation": "Merge", "properties": {"tags": {"A": "9"}}})
    merged = tags(answer)
    assert len(merged) == 2
    assert {name.lower(): value for name, value in merged.items()} == {"a": "9", "b": "2"}


@pytest.mark.parametrize(
    "body",
    [
        {}, {"operation": "Explode", "properties": {"tags": {}}}, {"operation": 1, "properties": {"tags": {}}},
        {"operation": "Merge"}, {"operation": "Merge", "properties": {}},
        {"operation": "Merge", "properties": {"tags": []}},
        {"operation": "Merge", "properties": {"tags": {"a": 1}}},
        {"operation": "Merge", "properties": {"tags": {f"t{n}": "x" for n in range(60)}}},
    ],
)  # fmt: skip
def test_a_bad_patch_changes_nothing(wire, target, body):
    answer = wire.patch(f"{target}/{TAGS}", body)
    assert answer.status_code == 400
    assert wire.get(target, IDENTITIES).json()["tags"] == {"a": "1", "b": "2"}


def test_tags_of_nothing_are_not_found(wire, group):
    missing = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/none/{TAGS}"
    refused(wire.get(missing), 404, "ResourceNotFound")
    refused(wire.put(missing, {"properties": {"tags": {}}}), 404, "ResourceNotFound")


def test_names_in_use_are_counted_and_go_when_nobody_uses_them(wire, bastide, group, unique):
    name = unique("colour")
    paths = [f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/paint{n}" for n in range(3)]
    for path, value in zip(paths, ("red", "red", "blue"), strict=True):
        wire.put(path, {"location": "westus", "tags": {name: value}}, IDENTITIES)
    (entry,) = [entry for entry in names(wire, bastide) if entry["tagName"] == name]
    assert entry["count"] == {"type": "Total", "value": 3}
    assert {value["tagValue"]: value["count"]["value"] for value in entry["values"]} == {"red": 2, "blue": 1}
    for path in paths:
        wire.delete(path, IDENTITIES)
    assert name not in [entry["tagName"] for entry in names(wire, bastide)]


def test_the_tags_of_a_subscription_are_its_own(wire, bastide):
    wire.put(f"{bastide.subscription}/{TAGS}", {"properties": {"tags": {"house": "bastide"}}})
    assert tags(wire.get(f"{bastide.subscription}/{TAGS}")) == {"house": "bastide"}
    assert wire.get(bastide.subscription).json().get("tags") == {"house": "bastide"}


def names(wire, bastide):
    found, answer = [], wire.get(f"{bastide.subscription}/tagNames")
    while True:
        found += answer.json()["value"]
        if not answer.json().get("nextLink"):
            return found
        answer = wire.get(answer.json()["nextLink"], version=None)
