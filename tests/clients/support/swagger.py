"""The published interface descriptions: their example requests, and a validator for what is answered.

They are not part of this repository: `$BASTIDE_SPEC` names their folder, else `../shared/reference/spec` beside the
checkout.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from support.server import REPOSITORY

PROVIDER = "swagger/specification/machinelearningservices/resource-manager/Microsoft.MachineLearningServices"
VERSIONS = {"2024-10-01-preview": "preview", "2024-10-01": "stable"}
# What answers hold beyond their description.
ADDED = {
    "bastide": "what Bastide says of itself",
    "changeableIsolationModes": "of a network, in previews; told in every version (mission.md W5)",
    "enableOSPatching": "of an instance; told in every version, as the four below",
    "enableRootAccess": "of an instance",
    "enableSSO": "of an instance",
    "idleTimeBeforeShutdown": "of an instance",
    "releaseQuotaOnStop": "of an instance",
    "errorInformation": "why a rule or network is not active; clients know it since 2025-06-01",
    "parentRuleNames": "of rules, since 2025-06-01",
    "systemDatastoresAuthMode": "of a workspace, since 2025-06-01",
    "userStorageArmId": "two names of one field; both are sent, for the clients of both versions",
    "userStorageResourceId": "as above",
}
VERBS = ("get", "put", "post", "patch", "delete", "head")


@dataclass(frozen=True)
class Example:
    """One published request of an operation."""

    version: str
    operation: str
    verb: str
    path: str
    parameters: dict[str, Any]
    body: Any
    responses: dict[str, Any]
    file: Path

    @property
    def id(self) -> str:
        return f"{self.version}-{self.operation}"

    @property
    def query(self) -> dict[str, str]:
        """What is neither part of the path nor the body."""
        placed = [name for name in self.parameters if "{" + name + "}" in self.path]
        return {name: value for name, value in self.parameters.items() if name not in placed and value is not None}


def folder() -> Path | None:
    """Where the descriptions are, or nothing."""
    named = Path(os.environ.get("BASTIDE_SPEC") or REPOSITORY.parent / "shared/reference/spec")
    return named if named.is_dir() else None


def needed() -> pytest.MarkDecorator:
    """Skips, and says so, where the descriptions are absent."""
    return pytest.mark.skipif(folder() is None, reason="no Swagger: set BASTIDE_SPEC to the folder of the descriptions")


def examples(*groups: str) -> list[Example]:
    """Every example of the operations whose names begin with one of the groups, in both versions."""
    found = []
    for version, stage in VERSIONS.items() if folder() else []:
        for file in sorted((folder() / PROVIDER / stage / version).glob("*.json")):
            for path, operations in json.loads(file.read_text())["paths"].items():
                for verb in VERBS:
                    if verb in operations and operations[verb]["operationId"].split("_")[0] in groups:
                        found += [*_examples(version, file, path, verb, operations[verb])]
    return found


def problems(example: Example, status: int, answer: Any) -> list[str]:
    """What is wrong with an answer by the description; fields that Bastide adds go by its own name."""
    response = example.responses.get(str(status))
    if response is None:
        return [f"{status} is none of {sorted(example.responses)}"]
    if "schema" not in response:
        return [] if answer is None else [f"{status} has no body, but there was {str(answer)[:200]}"]
    schema = _adapted({"schema": response["schema"]}, example.file)["schema"]
    registry = Registry(retrieve=_retrieve)
    validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(answer)]


def _examples(version: str, file: Path, path: str, verb: str, operation: dict):
    for reference in operation.get("x-ms-examples", {}).values():
        parameters = dict(json.loads((file.parent / reference["$ref"]).read_text())["parameters"])
        parameters.pop("api-version", None)
        bodies = [one["name"] for one in operation["parameters"] if one.get("in") == "body"]
        # Some examples name their body otherwise than the operation does.
        body = next((parameters.pop(name) for name in [*bodies, "parameters", "body"] if name in parameters), None)
        yield Example(
            version, operation["operationId"], verb, path, parameters, body, operation["responses"], file
        )  # fmt: skip


# Swagger 2 as JSON Schema ---------------------------------------------------------------------------------------


@cache
def _retrieve(uri: str) -> Resource:
    """A file of the descriptions as JSON Schema.

    Every definition becomes two: `Name` as it is referred to, which picks the kind that a discriminator names and
    knows no other properties than the described ones; and `Name!` as others extend it.
    """
    file = Path(uri.removeprefix("file://"))
    document = _adapted(json.loads(file.read_text()), file)
    definitions = document.get("definitions", {})
    made = {}
    for name, schema in definitions.items():
        made[f"{name}!"] = _extensible(schema)
        made[name] = {"allOf": [{"$ref": f"#/definitions/{name}!"}, *_kinds(definitions, name)]}
        if "properties" in schema or "allOf" in schema:
            made[name]["unevaluatedProperties"] = False
    return Resource(contents={**document, "definitions": made}, specification=DRAFT202012)


def _extensible(schema: dict) -> dict:
    """A definition as others extend it: it says nothing about the properties it does not know."""
    open_ended = {**schema, "properties": {**schema.get("properties", {}), **dict.fromkeys(ADDED, True)}}
    if open_ended.get("additionalProperties") is False:
        del open_ended["additionalProperties"]
    if "allOf" in schema:
        open_ended["allOf"] = [{"$ref": one["$ref"] + "!"} if "$ref" in one else one for one in schema["allOf"]]
    return open_ended


def _kinds(definitions: dict, name: str) -> list[dict]:
    """For each value of a discriminator, what it brings along."""
    field = definitions[name].get("discriminator")
    return [
        {
            "if": {"properties": {field: {"const": schema.get("x-ms-discriminator-value", kind)}}, "required": [field]},
            "then": {"$ref": f"#/definitions/{kind}!"},
        }
        for kind, schema in definitions.items()
        if field and _extends(definitions, kind, name)
    ]


def _extends(definitions: dict, name: str, base: str) -> bool:
    parents = [one["$ref"].rsplit("/", 1)[1] for one in definitions.get(name, {}).get("allOf", []) if "$ref" in one]
    return base in parents or any(_extends(definitions, parent, base) for parent in parents)


def _adapted(node: Any, file: Path) -> Any:
    """References as absolute addresses, and null where a description allows it in its own way."""
    if isinstance(node, list):
        return [_adapted(one, file) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and isinstance(node["$ref"], str):
        target, _, fragment = node["$ref"].partition("#")
        place = (file.parent / target).resolve() if target else file
        reference = {"$ref": f"file://{place}#{fragment}"}
        return {"anyOf": [reference, {"type": "null"}]} if node.get("x-nullable") else reference
    adapted = {key: _adapted(value, file) for key, value in node.items() if key != "x-nullable"}
    if node.get("x-nullable") and isinstance(node.get("type"), str):
        adapted["type"] = [node["type"], "null"]
        if "enum" in node:
            adapted["enum"] = [*node["enum"], None]
    return adapted
