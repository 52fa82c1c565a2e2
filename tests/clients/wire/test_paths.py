"""Resource ids on the wire: forgiving about spelling, strict about what two readers could understand differently."""

import pytest
from support.wire import IDENTITIES, refused

KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


def test_ids_match_in_any_case_and_answer_in_the_canonical_one(wire, group):
    created = wire.put(f"{group}/{KIND}/Mixed", {"location": "westus"}, IDENTITIES).json()
    assert created["id"] == f"{group}/{KIND}/Mixed"
    for spelling in (
        created["id"].lower(),
        created["id"].upper(),
        created["id"].replace("resourceGroups", "resourcegroups"),
    ):
        answer = wire.get(spelling, IDENTITIES)
        assert answer.status_code == 200, spelling
        assert answer.json()["id"] == created["id"], "the id of an answer does not echo the spelling of the request"
        assert answer.json()["type"] == "Microsoft.ManagedIdentity/userAssignedIdentities"


def test_another_case_is_the_same_resource(wire, group):
    first = wire.put(f"{group}/{KIND}/same", {"location": "westus"}, IDENTITIES)
    second = wire.put(f"{group}/{KIND}/SAME", {"location": "westus"}, IDENTITIES)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["properties"]["principalId"] == first.json()["properties"]["principalId"]
    assert len(wire.get(f"{group}/{KIND}", IDENTITIES).json()["value"]) == 1


@pytest.mark.parametrize(
    "target",
    [
        "{group}//{kind}//one?api-version={version}",
        "/{group}/{kind}/one/?api-version={version}",
        "{group}/{kind}/%6Fne?api-version={version}",
        "{group}/{kind}/one?API-VERSION={version}",
    ],
)
def test_doubled_and_trailing_slashes_and_needless_encoding_are_tolerated(wire, group, target):
    created = wire.put(f"{group}/{KIND}/one", {"location": "westus"}, IDENTITIES).json()
    answer = wire.raw("GET", target.format(group=group, kind=KIND, version=IDENTITIES))
    assert answer.status_code == 200
    assert answer.json()["id"] == created["id"]


@pytest.mark.parametrize(
    "segment",
    [
        "..", ".", "%2e%2e", "%2E", "..%2f..", "a%2fb", "a%2Fb", "a%5cb", "a\\b", "a%00", "%00", "a%0a",
        "a%0d%0aX:%20y",
        "a%7f", "a%", "a%2", "a%zz", "%ff", "%c0%ae%c0%ae", "%ed%a0%80", "a%e2%80%8b", "a%e2%80%ae",
    ],
)  # fmt: skip
def test_ambiguous_names_are_refused_before_anything_is_looked_up(wire, group, segment):
    before = wire.get(f"{group}/{KIND}", IDENTITIES).json()
    for method in ("GET", "PUT", "DELETE"):
        body = b'{"location": "westus"}' if method == "PUT" else b""
        answer = wire.raw(method, f"{group}/{KIND}/{segment}?api-version={IDENTITIES}", body)
        refused(answer, 400, "InvalidRequestUri")
    assert wire.get(f"{group}/{KIND}", IDENTITIES).json() == before


def test_an_encoded_percent_is_decoded_once(wire, group):
    """`%252F` is the text `%2F`, which no name may contain; it never becomes a slash."""
    answer = wire.raw("PUT", f"{group}/{KIND}/a%252Fb?api-version={IDENTITIES}", b'{"location": "westus"}')
    refused(answer, 400, "InvalidResourceName")


def test_dots_never_climb_out_of_a_group(wire, group, unique):
    """Neither a proxy's reading nor ours may reach the group next door."""
    other = group.replace(group.rsplit("/", 1)[1], unique("other"))
    assert wire.put(other, {"location": "westus"}).status_code == 201
    name = other.rsplit("/", 1)[1]
    for target in (f"{group}/../{name}", f"{group}/%2e%2e/{name}", f"{group}/..%2f{name}"):
        refused(wire.raw("DELETE", f"{target}?api-version=2024-11-01"), 400, "InvalidRequestUri")
    assert wire.head(other).status_code == 204


@pytest.mark.parametrize("letter", ["%E2%84%AA", "%C4%B0", "%C5%BF"])
def test_letters_that_only_look_like_ascii_do_not_fold_into_it(wire, group, letter):
    """The Kelvin sign, the dotted capital I and the long s are not k, i and s."""
    answer = wire.raw("GET", f"{group}/{KIND}/{letter}?api-version={IDENTITIES}")
    assert (answer.status_code, answer.json()["error"]["code"]) in [
        (404, "ResourceNotFound"),
        (400, "InvalidResourceName"),
    ]
    spelled = KIND.replace("k", letter).replace("s", letter)
    assert wire.raw("GET", f"{group}/{spelled}/x?api-version={IDENTITIES}").status_code in (400, 404)


def test_a_path_of_endless_length_is_refused(wire, group):
    refused(wire.raw("GET", f"{group}/{KIND}/{'a' * 3000}?api-version={IDENTITIES}"), 400, "InvalidRequestUri")
    refused(wire.raw("GET", f"{group}{'/a' * 100}?api-version={IDENTITIES}"), 400, "InvalidRequestUri")


@pytest.mark.parametrize("name", ["ab", "-abc", "a" * 34, "has.dot", "has%20space", "a+b"])
def test_a_workspace_name_outside_its_grammar_is_refused(wire, group, name):
    """3 to 33 letters, digits, `-` and `_`, beginning with a letter or digit."""
    path = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{name}?api-version=2025-12-01"
    answer = wire.raw("PUT", path, b'{"location": "westus", "kind": "Hub", "properties": {}}')
    error = refused(answer, 400, "InvalidResourceName")
    assert "33" in error["message"], "the sentence says what a name may look like"


@pytest.mark.parametrize("name", ["ends.", "a" * 91, "per%25cent", "st%2Aar", "a%3Ab"])
def test_a_group_name_outside_its_grammar_is_refused(wire, name):
    answer = wire.raw(
        "PUT", f"{wire.server.subscription}/resourceGroups/{name}?api-version=2024-11-01", b'{"location":"westus"}'
    )
    refused(answer, 400, "InvalidResourceGroup")


@pytest.mark.parametrize("name", ["a", "A-b_c(d).e", "0", "a" * 90])
def test_a_group_name_inside_its_grammar_is_taken(wire, name, worker_id):
    name = name if len(name) == 90 else f"{name}{worker_id}"
    path = f"{wire.server.subscription}/resourceGroups/{name}"
    answer = wire.put(path, {"location": "westus"})
    assert answer.status_code in (200, 201)
    assert answer.json()["name"] == name
    wire.delete(path)


def test_a_subscription_id_that_is_no_guid_is_refused(wire):
    refused(wire.get("/subscriptions/not-a-guid/resourceGroups"), 400, "InvalidSubscriptionId")


def test_a_path_that_leads_nowhere_is_not_found(wire, bastide):
    for path in ("/nowhere", "/subscriptions/x/y/z/w", f"{bastide.subscription}/nowhere"):
        assert wire.get(path).status_code in (400, 404), path
