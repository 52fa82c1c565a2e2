"""Bodies that are valid but for one thing, hundreds of them: each is refused with a sentence, or it stands for good.

What stands can be read, written back as it was read without changing anything, and put right again by the body that it
came from. The rules of every answer are those of `support.wire.check`: never a 5xx, no secret that is repeated.

`BASTIDE_MUTATION_SEED` tries others, `BASTIDE_MUTATIONS` more of them.
"""

import copy
import os
import random
import uuid

import pytest
from support import hub
from support.secrets import SECRETS
from support.wire import WORKSPACES, check_error

SEED = int(os.environ.get("BASTIDE_MUTATION_SEED", "1"))
MUTATIONS = int(os.environ.get("BASTIDE_MUTATIONS", "60"))
KEY = "a-key-that-nobody-may-read-again"

# What no property expects. Every value stands for a way in which clients and people go wrong.
VALUES = [
    None, "", 0, -1, 1, True, False, [], {}, [None], ["x"], {"a": None}, {"": 1}, "x" * 300, "x" * 50_000, 2**53 + 1,
    2**64, 10**30, 1.5, 1e308, "NaN", "null", "\0", "a\0b", "\u202eabc", "e\u0301", "😀", "\u200b", " x ", "../x", "%2f",
    "[parameters('x')]", "*", "a..b", "::1", "0.0.0.0/0", "1.2.3.4/33", "1-0", "65536", "80,", "javascript:alert(1)",
    "PT", "-PT5M", "P1Y", "9999-12-31T23:59:59Z", "2024-13-45T99:99:99Z", "/", "/subscriptions/x", ["a"] * 500,
    {f"k{number}": number for number in range(500)},
    f"/subscriptions/{uuid.UUID(int=5)}/resourceGroups/x/providers/Microsoft.Storage/storageAccounts/x",
]  # fmt: skip

FQDN = {"type": "FQDN", "destination": "pypi.org", "category": "UserDefined"}
TAG = {"type": "ServiceTag", "destination": {"serviceTag": "Storage", "protocol": "TCP", "portRanges": "443"}}
SUBJECTS = {
    "workspaces/mutant": hub.body(
        friendlyName="f", publicNetworkAccess="Enabled", ipAllowlist=["1.2.3.0/24"],
        managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": {"one": FQDN, "two": TAG}},
    ),
    "workspaces/{hub}/outboundRules/fqdn": {"properties": FQDN},
    "workspaces/{hub}/outboundRules/tag": {"properties": TAG},
    "workspaces/{hub}/connections/key": {"properties": {
        "category": "AzureOpenAI", "target": "https://x.example/", "authType": "ApiKey", "credentials": {"key": KEY},
        "isSharedToAll": True, "metadata": {"ApiVersion": "1"}, "expiryTime": "2030-01-01T00:00:00Z",
    }},
    "workspaces/{hub}/connections/keys": {"properties": {
        "category": "CustomKeys", "target": "x", "authType": "CustomKeys", "credentials": {"keys": {"one": KEY}},
    }},
}  # fmt: skip


@pytest.fixture(scope="module")
def isolated(wire, shared_group, unique):
    """The hub that rules and connections are made in."""
    SECRETS.add(KEY)
    network = {"isolationMode": "AllowOnlyApprovedOutbound"}
    return hub.create(wire, f"{shared_group}/{hub.KIND}/{unique('hub')}", managedNetwork=network)["id"]


@pytest.mark.parametrize("place", SUBJECTS)
def test_a_body_with_one_thing_wrong_is_refused_or_stands_for_good(wire, shared_group, isolated, place):
    path = f"{shared_group}/{hub.KIND}/mutant"
    if "{hub}" in place:
        path = place.replace("workspaces/{hub}", isolated)
    examine(wire, path, SUBJECTS[place], WORKSPACES)


@pytest.mark.parametrize("kind", hub.ASSOCIATED)
def test_what_hubs_stand_on_is_refused_or_stands_for_good(wire, shared_group, unique, kind):
    resource, version, document = hub.ASSOCIATED[kind]
    made = hub.associated(wire, shared_group, unique, kind)
    body = {"location": "westus", "tags": {"a": "b"}, **document}
    body["properties"] = {**document.get("properties", {}), "publicNetworkAccess": "Enabled"}
    examine(wire, f"{shared_group}/providers/{resource}/{made['name']}", body, version)


def examine(wire, path, body, version):
    """Sends mutants of a body to its place, and looks after each that was taken."""
    assert wire.put(path, body, version).status_code in (200, 201)
    chance = random.Random(f"{SEED} {path.rsplit('/', 2)[1]}")
    for _ in range(MUTATIONS):
        mutant = mutated(body, chance)
        answer = wire.put(path, mutant, version)
        if answer.status_code >= 400:
            check_error(answer.json(), str(mutant)[:500])
            assert len(answer.text) < 10_000, f"a refusal repeats what was sent: {str(mutant)[:500]}"
            continue
        read = wire.get(path, version)
        assert read.status_code == 200, f"{str(mutant)[:500]} was taken and cannot be read"
        again = wire.put(path, read.json(), version)
        assert again.status_code in (200, 201), f"what is read of {str(mutant)[:500]} is refused: {again.text[:500]}"
        unchanged = wire.get(path, version).headers["ETag"] == read.headers["ETag"]
        assert unchanged, f"what is read of {str(mutant)[:500]} changes it: {read.text[:500]}"
        mended = wire.put(path, body, version)
        assert mended.status_code in (200, 201), f"{str(mutant)[:500]} cannot be put right: {mended.text[:500]}"


def mutated(body, chance):
    """A copy of a body with one thing wrong somewhere."""
    mutant = copy.deepcopy(body)
    holder, key = chance.choice(list(places_in(mutant)))
    how = chance.randrange(6)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(key, str):
        holder[chance.choice([key.upper(), key.swapcase(), key.capitalize()])] = holder.pop(key)
    elif how == 2 and isinstance(holder[key], str):
        text = holder[key]
        holder[key] = chance.choice([text.upper(), text + " ", text + "x", text[:-1], [text], {"value": text}])
    elif how == 3 and isinstance(holder, dict):
        holder |= {"unknownField": {"x": [1, None]}, "provisioningState": "Failed", "systemData": {"createdBy": "x"}}
    else:
        holder[key] = copy.deepcopy(chance.choice(VALUES))
    return mutant


def places_in(value):
    """Every member of every object and list, as its holder and its key."""
    for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inside, dict | list):
            yield from places_in(inside)
