"""`az group`: resource groups from birth to death."""

import json

import pytest


@pytest.fixture
def name(unique):
    return unique("group")


def test_a_group_is_created_shown_and_listed(az, bastide, name):
    created = az.ok("group", "create", "-n", name, "-l", "westus", "--tags", "team=red", "stage=test")
    assert created["id"] == f"{bastide.subscription}/resourceGroups/{name}"
    assert created["name"] == name
    assert created["type"] == "Microsoft.Resources/resourceGroups"
    assert created["location"] == "westus"
    assert created["tags"] == {"team": "red", "stage": "test"}
    assert created["properties"]["provisioningState"] == "Succeeded"
    assert az.ok("group", "show", "-n", name) == created
    assert created in az.ok("group", "list")
    assert [group["name"] for group in az.ok("group", "list", "--tag", "team=red") if group["name"] == name] == [name]


def test_creating_a_group_again_is_not_an_error(az, name):
    first = az.ok("group", "create", "-n", name, "-l", "westus")
    assert az.ok("group", "create", "-n", name, "-l", "westus")["id"] == first["id"]


def test_a_group_cannot_move(az, name):
    az.ok("group", "create", "-n", name, "-l", "westus")
    assert "westus" in az.run("group", "create", "-n", name, "-l", "eastus").failed("InvalidResourceLocation")


def test_names_match_in_any_case_and_keep_the_case_they_were_given(az, unique):
    name = unique("Mixed-Case")
    az.ok("group", "create", "-n", name, "-l", "West US")
    shown = az.ok("group", "show", "-n", name.upper())
    assert shown["name"] == name
    assert shown["id"].endswith(f"/resourceGroups/{name}")
    assert shown["location"] == "westus"


def test_a_group_exists_or_not(az, name):
    assert az.ok("group", "exists", "-n", name) is False
    az.ok("group", "create", "-n", name, "-l", "westus")
    assert az.ok("group", "exists", "-n", name) is True


def test_tags_of_a_group_are_set_added_and_removed(az, name):
    az.ok("group", "create", "-n", name, "-l", "westus", "--tags", "a=1")
    assert az.ok("group", "update", "-n", name, "--set", "tags.b=2")["tags"] == {"a": "1", "b": "2"}
    assert az.ok("group", "update", "-n", name, "--tags", "c=3")["tags"] == {"c": "3"}
    assert az.ok("group", "show", "-n", name)["tags"] == {"c": "3"}


def test_a_deleted_group_is_gone(az, name):
    az.ok("group", "create", "-n", name, "-l", "westus")
    az.ok("group", "delete", "-n", name, "-y")
    assert az.ok("group", "exists", "-n", name) is False
    az.run("group", "show", "-n", name).failed("ResourceGroupNotFound", exit_code=3)


def test_a_delete_that_nobody_waits_for_ends_all_the_same(az, name):
    az.ok("group", "create", "-n", name, "-l", "westus")
    az.ok("group", "delete", "-n", name, "-y", "--no-wait")
    az.ok("group", "wait", "-n", name, "--deleted", "--interval", "1", "--timeout", "30")
    assert az.ok("group", "exists", "-n", name) is False


def test_waiting_for_a_group_that_is_there_ends_at_once(az, name):
    az.ok("group", "create", "-n", name, "-l", "westus")
    az.ok("group", "wait", "-n", name, "--exists", "--interval", "1", "--timeout", "10")
    az.ok("group", "wait", "-n", name, "--created", "--interval", "1", "--timeout", "10")


def test_a_group_takes_everything_in_it_along(az, name):
    az.ok("group", "create", "-n", name, "-l", "westus")
    az.ok("identity", "create", "-g", name, "-n", "first")
    az.ok("identity", "create", "-g", name, "-n", "second")
    az.ok("group", "delete", "-n", name, "-y")
    az.run("resource", "list", "--resource-group", name).failed("ResourceGroupNotFound", exit_code=3)
    # A group of the same name starts empty.
    az.ok("group", "create", "-n", name, "-l", "westus")
    assert az.ok("resource", "list", "--resource-group", name) == []
    az.run("identity", "show", "-g", name, "-n", "first").failed("ResourceNotFound", exit_code=3)


def test_a_group_nobody_made_cannot_be_shown_or_deleted(az):
    az.run("group", "show", "-n", "nobody-made-this").failed("ResourceGroupNotFound", exit_code=3)
    az.run("group", "delete", "-n", "nobody-made-this", "-y").failed("ResourceGroupNotFound", exit_code=3)


@pytest.mark.parametrize("bad", ["ends-with-a-dot.", "a" * 91, "has space", "quest?ion"])
def test_a_group_name_outside_the_grammar_is_refused(az, bad):
    """Letters, digits and `-_().`, at most 90, not ending in a dot."""
    az.run("rest", "--method", "put", "--url",
           f"/subscriptions/{{subscriptionId}}/resourcegroups/{bad.replace(' ', '%20').replace('?', '%3F')}"
           "?api-version=2024-11-01", "--body", '{"location":"westus"}')  # fmt: skip
    assert bad not in [group["name"] for group in az.ok("group", "list")]


def test_a_group_is_exported_as_a_template_that_deploys_elsewhere(az, bastide, name, unique, tmp_path):
    az.ok("group", "create", "-n", name, "-l", "westus")
    az.ok("identity", "create", "-g", name, "-n", "someone", "--tags", "team=red")
    template = az.ok("group", "export", "-n", name, "--include-parameter-default-value")
    assert template["parameters"] == {
        "userAssignedIdentities_someone_name": {"defaultValue": "someone", "type": "String"}
    }
    (tmp_path / "template.json").write_text(json.dumps(template))
    elsewhere = unique("elsewhere")
    az.ok("group", "create", "-n", elsewhere, "-l", "westus")
    az.ok("deployment", "group", "create", "-g", elsewhere, "--template-file", str(tmp_path / "template.json"))
    assert az.ok("identity", "show", "-g", elsewhere, "-n", "someone")["tags"] == {"team": "red"}
