"""Several clients at once: one of them wins, the others are told, and nothing is left in between."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.wire import IDENTITIES, Wire

KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
CLIENTS = 8


@pytest.fixture
def clients(bastide, owner_token):
    """Connections of their own, so that requests really meet."""
    return [Wire(bastide, owner_token) for _ in range(CLIENTS)]


def at_once(clients, deed):
    """Lets every client do its deed at the same time; returns the answers."""
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(lambda pair: deed(*pair), enumerate(clients)))


def test_one_of_many_creates(clients, group):
    path = f"{group}/{KIND}/contested"
    answers = at_once(
        clients, lambda _, wire: wire.put(path, {"location": "westus"}, IDENTITIES, headers={"If-None-Match": "*"})
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [412] * (CLIENTS - 1)


def test_many_creations_make_one_identity(clients, group):
    path = f"{group}/{KIND}/shared"
    answers = at_once(clients, lambda _, wire: wire.put(path, {"location": "westus"}, IDENTITIES))
    assert sorted(answer.status_code for answer in answers) == [200] * (CLIENTS - 1) + [201]
    assert len({answer.json()["properties"]["principalId"] for answer in answers}) == 1


def test_one_of_many_changes_what_it_read(clients, group):
    path = f"{group}/{KIND}/guarded"
    tag = clients[0].put(path, {"location": "westus"}, IDENTITIES).headers["ETag"]
    answers = at_once(
        clients,
        lambda number, wire: wire.put(
            path, {"location": "westus", "tags": {"by": str(number)}}, IDENTITIES, headers={"If-Match": tag}
        ),
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (CLIENTS - 1)
    (winner,) = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    assert clients[0].get(path, IDENTITIES).json()["tags"] == {"by": str(winner)}


def test_no_tag_of_many_is_lost(clients, group):
    """Merge is read, change and write in one; clients that merge different tags do not overwrite each other."""
    answers = at_once(
        clients,
        lambda number, wire: wire.patch(
            f"{group}/providers/Microsoft.Resources/tags/default",
            {"operation": "Merge", "properties": {"tags": {f"tag{number}": "here"}}},
        ),
    )
    assert {answer.status_code for answer in answers} == {200}
    assert clients[0].get(group).json()["tags"] == {f"tag{number}": "here" for number in range(CLIENTS)}


def test_nothing_outlives_its_group(clients, wire, bastide, unique):
    """Whoever creates while the group goes is refused, or goes with it; no resource hangs in the air."""
    for _ in range(5):
        group = f"{bastide.subscription}/resourceGroups/{unique('doomed')}"
        wire.put(group, {"location": "westus"})

        def deed(number, client, group=group):
            if number == 0:
                return [client.delete(group)]
            return [
                client.put(f"{group}/{KIND}/id-{number}-{count}", {"location": "westus"}, IDENTITIES)
                for count in range(5)
            ]

        answers = at_once(clients, deed)
        assert answers[0][0].status_code == 202
        for answer in (answer for several in answers[1:] for answer in several):
            assert answer.status_code in (201, 404, 409), answer.text
        wire.finish(answers[0][0])
        assert wire.head(group).status_code == 404
        everywhere = wire.get(f"{bastide.subscription}/{KIND}", IDENTITIES, params={"$top": 1000}).json()["value"]
        assert not [identity for identity in everywhere if identity["id"].startswith(group)]
        # A group of the same name starts empty.
        wire.put(group, {"location": "westus"})
        assert wire.get(f"{group}/resources").json()["value"] == []
        wire.delete(group)


def test_pages_stay_whole_while_others_write(clients, wire, group):
    """What was there before and is there after is on exactly one page, whatever happens around it."""
    steady = {f"steady-{number:02}" for number in range(20)}
    for name in steady:
        wire.put(f"{group}/{KIND}/{name}", {"location": "westus"}, IDENTITIES)

    def deed(number, client):
        if number > 1:
            for count in range(10):
                path = f"{group}/{KIND}/s{count}-{number}"
                client.put(path, {"location": "westus"}, IDENTITIES)
                client.delete(path, IDENTITIES)
            return None
        names, answer = [], client.get(f"{group}/{KIND}", IDENTITIES, params={"$top": 3})
        while True:
            names += [resource["name"] for resource in answer.json()["value"]]
            if not answer.json().get("nextLink"):
                return names
            answer = client.get(answer.json()["nextLink"], version=None)

    for names in at_once(clients, deed)[:2]:
        assert sorted(name for name in names if name in steady) == sorted(steady)
        assert len(names) == len(set(names))
