"""Managed identities as a machine outside Bastide meets them: an endpoint and a secret header."""

from __future__ import annotations

from dataclasses import dataclass

from support.secrets import SECRETS
from support.wire import IDENTITIES, Wire

KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@dataclass(frozen=True)
class ManagedIdentity:
    """A user-assigned identity with a freshly issued endpoint secret."""

    id: str
    principal_id: str
    client_id: str
    endpoint: str
    header: str


def announce(wire: Wire, group: str, name: str) -> ManagedIdentity:
    """Makes a user-assigned identity in a group and issues what a machine needs to be it."""
    path = f"{group}/{KIND}/{name}"
    made = wire.put(path, {"location": "westus"}, IDENTITIES)
    assert made.status_code in (200, 201), made.text
    issued = wire.post(f"{path}/issueEndpointSecret", {}, IDENTITIES)
    assert issued.status_code == 200, issued.text
    header = issued.json()["identityHeader"]
    SECRETS.add(header)
    properties = made.json()["properties"]
    return ManagedIdentity(
        path, properties["principalId"], properties["clientId"], issued.json()["identityEndpoint"], header
    )
