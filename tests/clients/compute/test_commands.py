"""`bastide ml compute`: what az ml documents, against computes that run, and errors that say what to do
(az-ml-commands.md, "az ml compute")."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml
from support.compute import Compute, make

SIZE = "Standard_DS1_v2"


def shown(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def listed(compute: Compute, verb: str, *arguments: str) -> list[dict]:
    """A list that belongs to no compute in particular."""
    command = compute.command(verb, *arguments, "-o", "json")
    at = command.index("--name")
    done = subprocess.run(command[:at] + command[at + 2 :], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cluster(hub):
    cluster = Compute(hub, "pool")
    arguments = ["--type", "AmlCompute", "--size", SIZE, "--min-instances", "0", "--max-instances", "3"]
    made = shown(cluster.run("create", *arguments, "-o", "json"))
    assert (made["type"], made["min_instances"], made["max_instances"]) == ("amlcompute", 0, 3)
    yield cluster
    assert cluster.run("delete", "--yes").returncode == 0


def nodes(cluster: Compute) -> list[dict]:
    return shown(cluster.run("list-nodes", "-o", "json"))


def test_a_cluster_grows_and_shrinks(cluster):
    assert nodes(cluster) == []
    changed = shown(cluster.run("update", "--min-instances", "1", "--idle-time-before-scale-down", "600", "-o", "json"))
    assert (changed["min_instances"], changed["idle_time_before_scale_down"]) == (1, 600)
    (node,) = nodes(cluster)
    assert (node["nodeState"], node["nodeId"]) == ("idle", "pool-0") and node["privateIpAddress"]
    assert cluster.run("scale", "--nodes", "2").returncode == 0
    assert [node["nodeState"] for node in nodes(cluster)] == ["idle", "idle"]
    assert shown(cluster.run("update", "--max-instances", "1", "-o", "json"))["max_instances"] == 1
    assert len(nodes(cluster)) == 1


def test_lists_name_what_there_is(compute, cluster):
    names = {one["name"]: one["type"] for one in listed(compute, "list")}
    assert names[compute.name] == "computeinstance" and names["pool"] == "amlcompute"
    assert [one["name"] for one in listed(compute, "list", "--type", "AmlCompute")] == ["pool"]
    assert len(listed(compute, "list", "--max-results", "1")) == 1
    sizes = listed(compute, "list-sizes", "--type", "ComputeInstance")
    assert SIZE in [size["name"] for size in sizes]
    usage = {one["name"]["value"]: one for one in listed(compute, "list-usage")}
    machines = next(one for name, one in usage.items() if "Machines" in name)
    assert 0 < machines["currentValue"] <= machines["limit"]


def test_who_has_seen_enough_may_close_the_pipe(compute):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(compute.command("show"), stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_instance_is_changed_and_nothing_else_about_it(compute):
    before = compute.show()
    changed = shown(
        compute.run("update", "--idle-time-before-shutdown-minutes", "45", "--tags", "team=blue", "stage=test", "-o", "json")
    )
    assert (changed["idle_time_before_shutdown_minutes"], changed["tags"]) == (45, {"team": "blue", "stage": "test"})
    changed = shown(compute.run("update", "--set", "tags.team=red", "--remove", "tags.stage", "-o", "json"))
    assert changed["tags"] == {"team": "red"}
    same = ("id", "size", "state", "last_operation", "network_settings", "services", "enable_sso")
    assert {name: changed[name] for name in same} == {name: before[name] for name in same}


def test_another_size_is_asked_for_by_resize(compute):
    refused = compute.run("update", "--set", "size=Standard_B2s")
    assert refused.returncode == 1 and b"bastide ml compute resize" in refused.stderr, refused.stderr
    assert compute.exec("sh", "-c", "echo kept > kept").returncode == 0
    assert compute.run("resize", "--size", "Standard_B2s").returncode == 0
    now = compute.show()
    assert (now["size"], now["state"], now["last_operation"]["operation_name"]) == ("Standard_B2s", "Running", "Resize")
    assert compute.exec("cat", "kept").stdout == b"kept\n"


def test_a_file_of_az_makes_one_and_what_cannot_run_is_said(hub, tmp_path):
    document = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/computeInstance.schema.json",
        "name": "ci-by-file", "type": "computeinstance", "size": SIZE, "idle_time_before_shutdown_minutes": 60,
        "schedules": {"compute_start_stop": [
            {"action": "stop", "trigger": {"type": "cron", "expression": "0 18 * * 1-5", "time_zone": "UTC"}},
        ]},
        "setup_scripts": {"startup_script": {"path": "setup.sh", "timeout_minutes": 1}},
        "custom_applications": [
            {"name": "rstudio", "image": {"reference": "registry.example/rstudio:1"}, "endpoints": [{"target": 8787, "published": 8787}]},
        ],
        "bastide": {"freeze_after": "PT1H"},
    }  # fmt: skip
    (tmp_path / "instance.yml").write_text(yaml.safe_dump(document))
    (tmp_path / "setup.sh").write_text("echo from the script > /etc/from-the-script\n")
    compute = Compute(hub, "ci-by-file")
    done = compute.run("create", "--file", str(tmp_path / "instance.yml"), "-o", "json")
    assert b"customServices are kept and not run" in done.stderr
    made = shown(done)
    assert made["schedules"]["compute_start_stop"][0]["trigger"]["expression"] == "0 18 * * 1-5"
    assert (made["custom_applications"][0]["name"], made["bastide"]) == ("rstudio", {"freeze_after": "PT1H"})
    assert compute.exec("cat", "/etc/from-the-script").stdout == b"from the script\n"
    told = compute.run("show").stdout.decode()
    assert "'rstudio' does not run" in told, told
    assert compute.run("delete", "--yes").returncode == 0


@pytest.mark.parametrize(
    ("verb", "arguments", "status", "word"),
    [
        ("create", ["--type", "Kubernetes"], 1, "use computeinstance or amlcompute"),
        ("create", ["--type", "ComputeInstance", "--size", "Standard_Nothing"], 1, "list-sizes"),
        ("create", ["--type", "ComputeInstance", "--subnet", "/subscriptions/x"], 1, "managed network"),
        ("create", ["--type", "AmlCompute", "--min-instances", "3", "--max-instances", "1"], 1, "minNodeCount"),
        ("show", [], 3, "was not found"),
        ("start", [], 3, "was not found"),
        ("delete", [], 1, "--yes"),
        ("attach", ["--type", "Kubernetes", "--resource-id", "/subscriptions/x"], 1, "bastide ml compute create"),
        ("detach", ["--yes"], 0, ""),
        ("exec", ["--", "true"], 3, "was not found"),
    ],
)
def test_what_cannot_be_says_what_to_do(hub, verb, arguments, status, word):
    done = Compute(hub, "ci-nobody").run(verb, *arguments)
    assert (done.returncode, word in done.stderr.decode()) == (status, True), done.stderr.decode()


def test_what_is_for_the_other_kind_of_compute_is_told_so(compute, cluster):
    for one, verb, arguments, word in [
        (cluster, "start", [], "ComputeInstance"),
        (cluster, "exec", ["--", "true"], "no compute instance"),
        (cluster, "scale", ["--nodes", "9"], "nodeCount"),
        (compute, "scale", ["--nodes", "1"], "AmlCompute"),
        (compute, "list-nodes", [], "AmlCompute"),
        (compute, "detach", ["--yes"], "Use Delete"),
    ]:
        done = one.run(verb, *arguments)
        assert done.returncode == 1 and word in done.stderr.decode(), (one.name, verb, done.stderr)


def test_one_that_is_stopped_says_how_to_start_it(hub):
    compute = make(hub, "ci-stopped")
    assert compute.run("stop").returncode == 0
    for verb in ("exec", "connect-ssh"):
        done = compute.run(verb, "--", "true")
        assert done.returncode != 0 and b"az ml compute start" in done.stderr, done.stderr
    assert compute.run("delete", "--yes").returncode == 0
