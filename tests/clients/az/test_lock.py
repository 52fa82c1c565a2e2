"""`az lock` and `az group lock`: what is locked stays until the lock is gone."""


def test_a_lock_keeps_a_group_until_it_is_gone(az, unique):
    name = unique("locked")
    az.ok("group", "create", "-n", name, "-l", "westus")
    made = az.ok("lock", "create", "-n", "keep", "--lock-type", "CanNotDelete", "-g", name, "--notes", "ours")
    assert (made["level"], made["notes"]) == ("CanNotDelete", "ours")
    assert "keep" in az.run("group", "delete", "-n", name, "-y").failed("ScopeLocked")
    assert [one["name"] for one in az.ok("lock", "list", "-g", name)] == ["keep"]
    assert az.ok("group", "lock", "show", "-n", "keep", "-g", name)["id"] == made["id"]
    assert az.ok("lock", "update", "-n", "keep", "-g", name, "--lock-type", "ReadOnly")["level"] == "ReadOnly"
    assert az.run("tag", "create", "--resource-id", made["id"].split("/providers")[0], "--tags", "a=1").code == 1
    az.ok("lock", "delete", "-n", "keep", "-g", name)
    assert az.ok("lock", "list", "-g", name) == []
    az.ok("group", "delete", "-n", name, "-y")


def test_a_lock_of_a_resource_is_found_by_its_id(az, group, unique):
    name, rg = unique("lockedid"), group.rsplit("/", 1)[1]
    az.ok("identity", "create", "-g", rg, "-n", name)
    of = ["-g", rg, "--resource-name", name, "--resource-type", "Microsoft.ManagedIdentity/userAssignedIdentities"]
    made = az.ok("lock", "create", "-n", "keep", "--lock-type", "CanNotDelete", *of)
    assert az.ok("lock", "show", "--ids", made["id"])["id"] == made["id"]
    assert az.run("identity", "delete", "-g", rg, "-n", name).code == 1
    az.ok("lock", "delete", "--ids", made["id"])
    az.ok("identity", "delete", "-g", rg, "-n", name)
