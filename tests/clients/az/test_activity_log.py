"""`az monitor activity-log list`: what was done, by whom, found by its filters."""


def test_what_was_done_to_a_group_is_listed(az, group):
    rg = group.rsplit("/", 1)[1]
    az.ok("group", "update", "-n", rg, "--set", "tags.a=1")
    events = az.ok("monitor", "activity-log", "list", "-g", rg, "--offset", "1h")
    write = "Microsoft.Resources/subscriptions/resourceGroups/write"
    assert {(event["operationName"]["value"], event["status"]["value"]) for event in events} >= {
        (write, "Started"), (write, "Succeeded"),
    }  # fmt: skip
    assert all(event["resourceGroupName"] == rg for event in events)
    one = next(event for event in events if event["status"]["value"] == "Succeeded")
    correlation = one["correlationId"]
    found = az.ok("monitor", "activity-log", "list", "--correlation-id", correlation, "--offset", "1h")
    assert {event["operationId"] for event in found} == {one["operationId"]}
    by_id = az.ok("monitor", "activity-log", "list", "--resource-id", group, "--status", "Succeeded", "--offset", "1h")
    assert by_id and all(event["resourceId"].lower() == group.lower() for event in by_id)
    mine = az.ok("monitor", "activity-log", "list", "-g", rg, "--caller", "bootstrap", "--offset", "1h")
    assert len(mine) == len(events)


def test_the_categories_are_listed(az):
    names = [category["value"] for category in az.ok("monitor", "activity-log", "list-categories")]
    assert names == ["Administrative", "Policy"]


def test_only_what_is_selected_is_shown_and_no_more_than_asked(az, group):
    rg = group.rsplit("/", 1)[1]
    events = az.ok(
        "monitor", "activity-log", "list", "-g", rg, "--offset", "1h", "--select", "caller", "--max-events", "1"
    )
    assert len(events) == 1 and events[0]["caller"] == "bootstrap"
    assert not events[0].get("resourceId")
