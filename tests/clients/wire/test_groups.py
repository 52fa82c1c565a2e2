"""Resource groups on the wire: the answer's shape, patches, long-running deletes."""

from support.wire import IDENTITIES, refused

KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


def test_a_group_looks_like_one(wire, bastide, unique):
    name = unique("rg")
    created = wire.put(f"{bastide.subscription}/resourcegroups/{name}", {"location": "West US", "tags": {"a": "1"}})
    assert created.status_code == 201
    assert created.json() == {
        "id": f"{bastide.subscription}/resourceGroups/{name}",
        "name": name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": "westus",
        "tags": {"a": "1"},
        "properties": {"provisioningState": "Succeeded"},
    }


def test_what_get_shows_put_takes_back(wire, group):
    shown = wire.get(group).json()
    again = wire.put(group, shown)
    assert again.status_code == 200
    assert again.json() == shown


def test_a_put_without_tags_takes_them_away(wire, group):
    wire.put(group, {"location": "westus", "tags": {"a": "1"}})
    wire.put(group, {"location": "westus"})
    assert wire.get(group).json().get("tags", {}) == {}


def test_a_patch_with_tags_replaces_them_and_without_leaves_them(wire, group):
    wire.put(group, {"location": "westus", "tags": {"a": "1", "b": "2"}})
    assert wire.patch(group, {"tags": {"c": "3"}}).json()["tags"] == {"c": "3"}
    assert wire.patch(group, {}).json()["tags"] == {"c": "3"}
    assert wire.patch(group, {"tags": {}}).json()["tags"] == {"c": "3"}


def test_a_patch_of_nothing_is_not_found(wire, bastide):
    refused(wire.patch(f"{bastide.subscription}/resourceGroups/nobody", {"tags": {}}), 404, "ResourceGroupNotFound")


def test_a_group_stays_where_it_is(wire, group):
    refused(wire.put(group, {"location": "eastus"}), 409, "InvalidResourceLocation")
    assert wire.get(group).json()["location"] == "westus"


def test_a_delete_ends_at_its_location_and_takes_everything_along(wire, bastide, unique):
    path = f"{bastide.subscription}/resourceGroups/{unique('rg')}"
    wire.put(path, {"location": "westus"})
    for number in range(20):
        assert wire.put(f"{path}/{KIND}/id{number:03}", {"location": "westus"}, IDENTITIES).status_code == 201
    answer = wire.delete(path)
    assert answer.status_code == 202
    wire.finish(answer)
    refused(wire.get(path), 404, "ResourceGroupNotFound")
    refused(wire.get(f"{path}/{KIND}/id000", IDENTITIES), 404, "ResourceGroupNotFound")
    assert wire.head(path).status_code == 404


def test_the_status_of_a_delete_can_be_read_after_the_group_is_gone(wire, bastide, unique):
    path = f"{bastide.subscription}/resourceGroups/{unique('rg')}"
    wire.put(path, {"location": "westus"})
    answer = wire.delete(path)
    wire.finish(answer)
    assert wire.get(answer.headers["Location"], version=None).status_code in (200, 204)
    if status := answer.headers.get("Azure-AsyncOperation"):
        document = wire.get(status, version=None).json()
        assert document["status"] == "Succeeded"
        assert document["id"] and document["name"] and document["startTime"] and document["endTime"]


def test_a_name_is_free_again_at_once(wire, bastide, unique):
    path = f"{bastide.subscription}/resourceGroups/{unique('rg')}"
    wire.put(path, {"location": "westus"})
    wire.put(f"{path}/{KIND}/before", {"location": "westus"}, IDENTITIES)
    wire.finish(wire.delete(path))
    assert wire.put(path, {"location": "eastus"}).status_code == 201, "another place is fine for another group"
    assert wire.get(f"{path}/resources").json()["value"] == []


def test_a_delete_of_nothing_is_not_found(wire, bastide):
    """The one delete that answers 404: az and Terraform rely on it."""
    refused(wire.delete(f"{bastide.subscription}/resourceGroups/nobody"), 404, "ResourceGroupNotFound")


def test_the_url_of_an_operation_belongs_to_the_server_that_was_asked(wire, bastide, unique):
    path = f"{bastide.subscription}/resourceGroups/{unique('rg')}"
    wire.put(path, {"location": "westus"})
    answer = wire.delete(path)
    assert answer.headers["Location"].startswith(f"{bastide.endpoint}/subscriptions/")
    assert "api-version=" in answer.headers["Location"]


def test_an_operation_that_never_was_is_not_found(wire, bastide):
    path = f"{bastide.subscription}/providers/Microsoft.Resources/locations/westus"
    for kind in ("operationStatuses", "operationResults"):
        for name in ("6f2c9e51-0000-4000-8000-000000000000", "nonsense"):
            assert wire.get(f"{path}/{kind}/{name}").status_code in (400, 404)


def test_groups_are_listed_by_tag(wire, bastide, unique):
    name = unique("tagged")
    wire.put(f"{bastide.subscription}/resourceGroups/{name}", {"location": "westus", "tags": {"colour": name}})
    listing = wire.get(
        f"{bastide.subscription}/resourcegroups", params={"$filter": f"tagName eq 'colour' and tagValue eq '{name}'"}
    ).json()  # fmt: skip
    assert [group["name"] for group in listing["value"]] == [name]
