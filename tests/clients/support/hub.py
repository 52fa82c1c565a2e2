"""Hubs and what they are associated with, made by plain requests: what most tests start from."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from support.wire import WORKSPACES, Wire

KIND = "providers/Microsoft.MachineLearningServices/workspaces"


def body(kind: str = "Hub", **properties: Any) -> dict:
    """The body of a workspace."""
    return {"location": "westus", "kind": kind, "properties": properties}


def create(wire: Wire, path: str, kind: str = "Hub", **properties: Any) -> dict:
    """A workspace at a path; what the server answered."""
    made = wire.put(path, body(kind, **properties), WORKSPACES)
    assert made.status_code == 200, made.text
    return made.json()


def associated(wire: Wire, group: str, unique: Callable[[str], str], kind: str, **changes: Any) -> dict:
    """One of the resources that hubs stand on, with some of its properties changed."""
    resource, version, document = ASSOCIATED[kind]
    # Storage accounts and registries are named by letters and digits alone.
    name = re.sub("[^a-z0-9]", "", unique(kind))
    document = {"location": "westus", **document, "properties": {**document.get("properties", {}), **changes}}
    made = wire.put(f"{group}/providers/{resource}/{name}", document, version)
    assert made.status_code in (200, 201), made.text
    return made.json()


STORAGE = {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}}

ASSOCIATED = {
    "storage": ("Microsoft.Storage/storageAccounts", "2023-05-01", STORAGE),
    "vault": ("Microsoft.KeyVault/vaults", "2023-07-01", {}),
    "registry": ("Microsoft.ContainerRegistry/registries", "2023-07-01", {"sku": {"name": "Premium"}}),
    "insights": ("Microsoft.Insights/components", "2020-02-02", {"kind": "web"}),
    "services": ("Microsoft.CognitiveServices/accounts", "2024-10-01", {"kind": "AIServices", "sku": {"name": "S0"}}),
    "search": ("Microsoft.Search/searchServices", "2023-11-01", {"sku": {"name": "standard"}}),
    "identity": ("Microsoft.ManagedIdentity/userAssignedIdentities", "2023-01-31", {}),
}
