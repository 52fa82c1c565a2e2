"""Resources on the wire: etags, round trips, filters and pages."""

import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from support.wire import GROUPS, IDENTITIES, refused

KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def path(group):
    return f"{group}/{KIND}/one"


def test_what_get_shows_put_takes_back(wire, path):
    """az and Terraform read, change and write: read-only fields in a body are dropped, not refused."""
    created = wire.put(path, {"location": "westus", "tags": {"a": "1"}}, IDENTITIES).json()
    shown = wire.get(path, IDENTITIES).json()
    assert {**created, "systemData": None} == {**shown, "systemData": None}
    again = wire.put(path, shown, IDENTITIES)
    assert again.status_code == 200
    assert {**again.json(), "systemData": None} == {**shown, "systemData": None}


def test_read_only_fields_cannot_be_written(wire, path, bastide):
    mine = str(uuid.uuid4())
    body = {
        "id": "/subscriptions/x", "name": "other", "type": "Other.Type/things", "location": "westus",
        "systemData": {"createdBy": "me"}, "etag": "mine",
        "properties": {"principalId": mine, "clientId": mine, "tenantId": mine, "provisioningState": "Succeeded"},
    }  # fmt: skip
    created = wire.put(path, body, IDENTITIES).json()
    assert (created["id"], created["name"]) == (path, "one")
    assert mine not in (created["properties"]["principalId"], created["properties"]["clientId"])
    assert created["properties"]["tenantId"] == bastide.bootstrap.tenant_id
    assert created["systemData"]["createdBy"] != "me"


def test_who_made_it_and_when_is_recorded(wire, path, bastide):
    created = wire.put(path, {"location": "westus"}, IDENTITIES).json()["systemData"]
    assert created["createdByType"] == "Application"
    assert created["createdAt"] == created["lastModifiedAt"]
    changed = wire.put(path, {"location": "westus", "tags": {"a": "1"}}, IDENTITIES).json()["systemData"]
    assert changed["createdAt"] == created["createdAt"]
    assert changed["lastModifiedAt"] >= changed["createdAt"]


def test_a_patch_changes_only_what_it_names(wire, path):
    created = wire.put(path, {"location": "westus", "tags": {"a": "1"}}, IDENTITIES).json()
    patched = wire.patch(path, {"tags": {"b": "2"}}, IDENTITIES).json()
    assert patched["tags"] == {"b": "2"}
    assert patched["properties"] == created["properties"]
    assert patched["location"] == "westus"
    assert wire.patch(path, {"tags": {}}, IDENTITIES).json()["tags"] == {"b": "2"}


def test_a_patch_of_nothing_is_not_found_whatever_it_matches(wire, group):
    for headers in ({}, {"If-Match": "*"}, {"If-Match": '"x"'}):
        answer = wire.patch(f"{group}/{KIND}/none", {"tags": {}}, IDENTITIES, headers=headers)
        refused(answer, 404, "ResourceNotFound")


def test_a_resource_stays_where_it_is(wire, path):
    wire.put(path, {"location": "westus"}, IDENTITIES)
    refused(wire.put(path, {"location": "eastus"}, IDENTITIES), 409, "InvalidResourceLocation")
    assert wire.put(path, {"location": "West US"}, IDENTITIES).status_code == 200


# ETags ------------------------------------------------------------------------------------------------------------


def etag(answer):
    assert answer.headers["ETag"], "no ETag"
    return answer.headers["ETag"]


def test_every_revision_has_an_etag_of_its_own(wire, path):
    first = etag(wire.put(path, {"location": "westus"}, IDENTITIES))
    assert etag(wire.get(path, IDENTITIES)) == first
    second = etag(wire.put(path, {"location": "westus", "tags": {"a": "1"}}, IDENTITIES))
    assert second != first
    assert etag(wire.get(path, IDENTITIES)) == second


def test_if_match_keeps_two_writers_from_overwriting_each_other(wire, path):
    old = etag(wire.put(path, {"location": "westus"}, IDENTITIES))
    new = etag(wire.put(path, {"location": "westus", "tags": {"a": "1"}}, IDENTITIES, headers={"If-Match": old}))
    answer = wire.put(path, {"location": "westus", "tags": {"a": "2"}}, IDENTITIES, headers={"If-Match": old})
    refused(answer, 412, "PreconditionFailed")
    assert wire.get(path, IDENTITIES).json()["tags"] == {"a": "1"}
    assert wire.patch(path, {"tags": {"a": "3"}}, IDENTITIES, headers={"If-Match": new}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "missing", "existing"),
    [
        ({}, 201, 200),
        ({"If-Match": "*"}, 412, 200),
        ({"If-Match": '"wrong"'}, 412, 412),
        ({"If-None-Match": "*"}, 201, 412),
    ],
)
def test_the_table_of_preconditions_of_put(wire, path, headers, missing, existing):
    answer = wire.put(path, {"location": "westus"}, IDENTITIES, headers=headers)
    assert answer.status_code == missing
    wire.put(path, {"location": "westus"}, IDENTITIES)
    answer = wire.put(path, {"location": "westus"}, IDENTITIES, headers=headers)
    assert answer.status_code == existing


def test_a_delete_keeps_to_its_precondition(wire, path):
    assert wire.delete(path, IDENTITIES).status_code == 204
    tag = etag(wire.put(path, {"location": "westus"}, IDENTITIES))
    refused(wire.delete(path, IDENTITIES, headers={"If-Match": '"wrong"'}), 412, "PreconditionFailed")
    assert wire.get(path, IDENTITIES).status_code == 200
    assert wire.delete(path, IDENTITIES, headers={"If-Match": tag}).status_code == 200


# Lists ------------------------------------------------------------------------------------------------------------


def everything(wire, path, version=GROUPS, **params):
    """Follows nextLink to the end; returns the pages."""
    pages, answer = [], wire.get(path, version, params=params)
    while True:
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert set(document) <= {"value", "nextLink"}
        pages.append(document["value"])
        link = document.get("nextLink")
        if link is None:
            return pages
        assert link, "nextLink is absent or null at the end, never empty"
        assert len(pages) < 100, "the pages do not end"
        answer = wire.get(link, version=None)


@pytest.fixture(scope="module")
def crowd(wire, shared_group):
    """25 identities in one group; every fifth has a tag."""
    for number in range(25):
        tags = {"fifth": str(number)} if number % 5 == 0 else {}
        wire.put(f"{shared_group}/{KIND}/crowd-{number:02}", {"location": "westus", "tags": tags}, IDENTITIES)
    return shared_group


@pytest.mark.parametrize("size", [1, 7, 24, 25, 26, 1000])
def test_pages_hold_everything_once_and_in_order(wire, crowd, size):
    pages = everything(wire, f"{crowd}/resources", **{"$top": size})
    names = [resource["name"] for page in pages for resource in page]
    assert names == [f"crowd-{number:02}" for number in range(25)]
    assert all(len(page) <= size for page in pages)
    assert len(pages) in ((25 + size - 1) // size, 25 // size + 1)


def test_a_next_link_keeps_the_other_parameters(wire, crowd):
    parameters = {
        "$top": 2,
        "$filter": "resourceType eq 'Microsoft.ManagedIdentity/userAssignedIdentities'",
        "$expand": "createdTime",
    }
    link = wire.get(f"{crowd}/resources", params=parameters).json()["nextLink"]
    query = parse_qs(urlsplit(link).query)
    assert query["api-version"] == [GROUPS]
    assert query["$filter"] == [parameters["$filter"]]
    assert query["$expand"] == ["createdTime"]
    assert query["$top"] == ["2"]


@pytest.mark.parametrize("token", ["", "nonsense", "AAAA", "../../etc/passwd", "%00", "a" * 5000, "' or 1=1 --"])
def test_a_page_token_that_is_none_is_refused(wire, crowd, token):
    answer = wire.get(f"{crowd}/resources", params={"$skiptoken": token})
    assert answer.status_code == 400 or (token == "" and answer.status_code == 200)


def test_a_page_token_that_was_changed_is_refused_or_leads_nowhere_else(wire, crowd, bastide):
    link = wire.get(f"{crowd}/resources", params={"$top": 2}).json()["nextLink"]
    head, token = link.rsplit("oken=", 1)
    token, rest = (token.split("&", 1) + [""])[:2]
    for position in (0, len(token) // 2, len(token) - 3):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        answer = wire.get(f"{head}oken={changed}&{rest}", version=None)
        if answer.status_code == 200:
            assert all(resource["id"].startswith(crowd) for resource in answer.json()["value"])
        else:
            assert answer.status_code == 400


@pytest.mark.parametrize("top", ["0", "-1", "x", "1001", "1.5", "99999999999999999999", ""])
def test_a_page_size_outside_one_to_a_thousand_is_refused(wire, crowd, top):
    answer = wire.get(f"{crowd}/resources", params={"$top": top})
    assert answer.status_code == 400, f"{top!r}: {answer.text}"


def test_a_list_of_one_type_pages_as_well(wire, crowd):
    pages = everything(wire, f"{crowd}/{KIND}", IDENTITIES, **{"$top": 10})
    assert [len(page) for page in pages] == [10, 10, 5]


def test_resources_are_found_by_the_filters_of_az(wire, crowd, bastide):
    name = crowd.rsplit("/", 1)[1]
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"

    def found(text):
        pages = everything(wire, f"{bastide.subscription}/resources", **{"$filter": text})
        return sorted(resource["name"] for page in pages for resource in page if resource["id"].startswith(crowd))

    assert len(found(f"resourceGroup eq '{name}'")) == 25
    assert len(found(f"resourceGroup eq '{name.upper()}'")) == 25
    assert found(f"resourceGroup eq '{name}' and name eq 'crowd-07'") == ["crowd-07"]
    assert found("name eq 'CROWD-07'") == ["crowd-07"]
    assert len(found(f"resourceType eq '{kind.lower()}'")) == 25
    assert found(f"resourceType eq '{kind}' and name eq 'crowd-01'") == ["crowd-01"]
    assert found("resourceType eq 'Microsoft.MachineLearningServices/workspaces'") == []
    assert found("tagname eq 'fifth' and tagvalue eq '10'") == ["crowd-10"]
    assert found("tagName eq 'FIFTH'") == [f"crowd-{number:02}" for number in (0, 5, 10, 15, 20)]
    assert found("substringof('wd-2', name)") == [f"crowd-{number}" for number in range(20, 25)]
    assert found(f"resourceGroup eq '{name}' and (name eq 'crowd-01' or name eq 'crowd-02')") == [
        "crowd-01",
        "crowd-02",
    ]
    assert found(f"resourceGroup eq '{name}' and name ne 'crowd-01' and substringof('crowd-0', name)") == [
        f"crowd-{number:02}" for number in range(10) if number != 1
    ]
    assert found("name eq 'O''Brien'") == []


@pytest.mark.parametrize(
    "text",
    ["name", "name eq", "name eq 'x", "name eq x", "(name eq 'x'", "name eq 'x')", "name like 'x'", "owner eq 'x'",
     "name eq 'x' and", "' or 1=1 --", "(" * 500 + "name eq 'x'" + ")" * 500, "name eq '" + "x" * 10_000 + "'"],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_is_refused(wire, bastide, text):
    answer = wire.get(f"{bastide.subscription}/resources", params={"$filter": text})
    assert answer.status_code == 400, answer.text
    assert "filter" in answer.json()["error"]["message"].lower()


def test_a_listed_resource_says_when_it_was_made_if_asked(wire, crowd):
    expand = "createdTime,changedTime,provisioningState"
    listed = wire.get(f"{crowd}/resources", params={"$top": 1, "$expand": expand}).json()["value"][0]
    assert listed["createdTime"] and listed["changedTime"] and listed["provisioningState"] == "Succeeded"
    plain = wire.get(f"{crowd}/resources", params={"$top": 1}).json()["value"][0]
    assert {"id", "name", "type", "location"} <= set(plain)
    assert "createdTime" not in plain


def test_an_empty_list_is_a_list(wire, group):
    assert wire.get(f"{group}/resources").json() == {"value": []}
    assert wire.get(f"{group}/{KIND}", IDENTITIES).json() == {"value": []}


# What is not there ------------------------------------------------------------------------------------------------


def test_not_found_is_said_in_the_order_subscription_group_resource(wire, bastide, group):
    strange = f"/subscriptions/{uuid.uuid4()}/resourceGroups/none/{KIND}/none"
    refused(wire.get(strange, IDENTITIES), 404, "SubscriptionNotFound")
    refused(
        wire.get(f"{bastide.subscription}/resourceGroups/none/{KIND}/none", IDENTITIES), 404, "ResourceGroupNotFound"
    )
    refused(wire.get(f"{group}/{KIND}/none", IDENTITIES), 404, "ResourceNotFound")


def test_a_type_or_namespace_nobody_implements_is_said_to_be_one(wire, group):
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = {"json": {"location": "westus"}} if method in ("PUT", "PATCH") else {}
        path = f"{group}/providers/Microsoft.ManagedIdentity/castles/one"
        refused(wire.request(method, path, IDENTITIES, **body), 404, "InvalidResourceType")
        path = f"{group}/providers/Example.Castles/keeps/one"
        refused(wire.request(method, path, IDENTITIES, **body), 404, "InvalidResourceNamespace")
    refused(wire.get(f"{group}/providers/Microsoft.ManagedIdentity/castles", IDENTITIES), 404, "InvalidResourceType")


def test_an_action_nobody_implements_is_not_found(wire, path):
    wire.put(path, {"location": "westus"}, IDENTITIES)
    answer = wire.post(f"{path}/explode", {}, IDENTITIES)
    assert answer.status_code in (400, 404, 405)


def test_a_write_into_a_group_that_is_not_there_leaves_nothing(wire, bastide):
    path = f"{bastide.subscription}/resourceGroups/nobody-made-this/{KIND}/one"
    refused(wire.put(path, {"location": "westus"}, IDENTITIES), 404, "ResourceGroupNotFound")
    assert wire.head(f"{bastide.subscription}/resourceGroups/nobody-made-this").status_code == 404
