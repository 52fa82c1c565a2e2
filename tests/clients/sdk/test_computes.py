"""azure-ai-ml: the life of compute instances and clusters (mission.md group S)."""

import pytest
from azure.ai.ml.entities import (
    AmlCompute,
    ComputeInstance,
    ComputeSchedules,
    ComputeStartStopSchedule,
    CronTrigger,
)
from azure.ai.ml.entities._compute.compute_instance import ComputeInstanceSshSettings
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from support import hub, sdk
from support.server import network

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx7nYlq0hSXhY4T5S9vIu0M1b6nN9Wn3o6b3WZl1wQy mei@bastide"

# Where nothing is enforced nothing runs, and nothing is said to.
RUNNING = "Running" if network() == "kernel" else "Unknown"


@pytest.fixture(scope="module")
def computes(exported, bastide, wire, shared_group, unique):
    """The computes of a hub that the module's tests share."""
    name = unique("hub")
    hub.create(wire, f"{shared_group}/{hub.KIND}/{name}")
    return sdk.ml_client(bastide, shared_group, name).compute


@pytest.fixture
def name(unique):
    """A name of a compute, which must not end as those of nodes do."""
    return f"{unique('ci')}x"


@pytest.fixture
def make(computes, name):
    """Makes the test's compute, and takes it away afterwards."""

    def make(kind=ComputeInstance, **properties):
        return computes.begin_create_or_update(kind(name=name, **properties)).result()

    yield make
    try:
        computes.begin_delete(name).result()
    except ResourceNotFoundError:
        pass


def test_an_instance_lives_stops_starts_and_dies(computes, make, name):
    made = make(size="STANDARD_DS1_V2", description="mine", tags={"team": "one"})
    assert (made.name, made.type, made.provisioning_state, made.state) == (name, "computeinstance", "Succeeded", RUNNING)
    assert (made.size, made.description, made.tags) == ("STANDARD_DS1_V2", "mine", {"team": "one"})
    assert made.last_operation["operationName"] == "Create"
    assert made.last_operation["operationStatus"] == "Succeeded"
    assert [service["displayName"] for service in made.services] == ["Jupyter", "Jupyter Lab"]
    assert made.network_settings is None or made.network_settings.public_ip_address is None
    assert name in [compute.name for compute in computes.list()]
    for action, state, operation in [
        (computes.begin_stop, "Stopped", "Stop"),
        (computes.begin_start, RUNNING, "Start"),
        (computes.begin_restart, RUNNING, "Restart"),
    ]:
        action(name).result()
        now = computes.get(name)
        assert (now.state, now.last_operation["operationName"]) == (state, operation)
        assert now.last_operation["operationStatus"] == "Succeeded"
    computes.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError):
        computes.get(name)


def test_the_sdks_default_size_runs_here(make):
    assert make().size == "STANDARD_DS3_V2"


def test_what_the_sdk_sets_it_reads_again(computes, make, name):
    stop = ComputeStartStopSchedule(trigger=CronTrigger(expression="0 18 * * *", time_zone="UTC"), action="Stop")
    make(
        size="Standard_DS1_v2",
        idle_time_before_shutdown_minutes=30,
        ssh_public_access_enabled=True,
        ssh_settings=ComputeInstanceSshSettings(ssh_key_value=KEY),
        schedules=ComputeSchedules(compute_start_stop=[stop]),
        enable_sso=False,
        release_quota_on_stop=True,
    )
    read = computes.get(name)
    assert read.idle_time_before_shutdown_minutes == 30
    assert (read.ssh_settings.ssh_key_value, read.ssh_settings.ssh_port) == (KEY, 22)
    assert read.ssh_settings.admin_username == "azureuser"
    assert (read.ssh_public_access_enabled, read.enable_sso, read.release_quota_on_stop) == (True, False, True)
    (schedule,) = read.schedules.compute_start_stop
    assert (schedule.action, schedule.trigger.expression) == ("Stop", "0 18 * * *")
    assert schedule.schedule_id


def test_the_same_instance_again_is_the_same(computes, make, name):
    first = make(size="Standard_DS1_v2")
    again = computes.begin_create_or_update(ComputeInstance(name=name, size="Standard_DS1_v2")).result()
    assert (again.id, again.last_operation) == (first.id, first.last_operation)


def test_what_the_sdk_reads_it_may_send_back_whoever_has_made_it(computes, make, name):
    made = make(size="Standard_DS1_v2")
    made.tags = {"team": "blue"}
    changed = computes.begin_update(made).result()
    assert (changed.tags, changed.last_operation) == ({"team": "blue"}, made.last_operation)


def test_one_that_was_made_without_the_sdk_is_changed_by_it(computes, wire, shared_group, name):
    """A template says less than the SDK does, and what nobody has said is no contradiction."""
    hub_path = f"{shared_group}/{hub.KIND}/{computes._workspace_name}"
    body = {"location": "local", "properties": {"computeType": "ComputeInstance", "properties": {"vmSize": "Standard_DS1_v2"}}}
    assert wire.put(f"{hub_path}/computes/{name}", body, "2024-10-01").status_code == 201
    read = computes.get(name)
    read.tags = {"team": "red"}
    assert computes.begin_create_or_update(read).result().tags == {"team": "red"}
    computes.begin_delete(name).result()


def test_a_cluster_has_its_nodes(computes, make, name):
    made = make(AmlCompute, size="Standard_DS1_v2", min_instances=0, max_instances=2, idle_time_before_scale_down=120)
    assert (made.type, made.provisioning_state) == ("amlcompute", "Succeeded")
    assert (made.min_instances, made.max_instances, made.idle_time_before_scale_down) == (0, 2, 120)
    assert list(computes.list_nodes(name)) == []
    made.min_instances = 1
    assert computes.begin_update(made).result().min_instances == 1
    (node,) = computes.list_nodes(name)
    # The SDK leaves its own names empty and puts those of the wire on the object.
    assert vars(node)["nodeState"] == ("idle" if network() == "kernel" else "unusable")


@pytest.mark.parametrize(
    ("properties", "word"),
    [
        ({"size": "Standard_Nothing"}, "list-sizes"),
        ({"size": "Standard_NC6s_v3"}, "graphics processors"),
        ({"idle_time_before_shutdown_minutes": 5}, "15 minutes"),
        ({"enable_node_public_ip": False}, "private endpoint"),
    ],
)
def test_what_cannot_be_is_refused_with_a_word_on_what_to_do(make, properties, word):
    with pytest.raises(HttpResponseError, match=word) as refused:
        make(**properties)
    assert refused.value.status_code == 400


def test_sizes_and_use_are_those_of_the_host(computes, make, name):
    assert "Standard_DS3_v2" in [size.name for size in computes.list_sizes()]
    make(size="Standard_DS1_v2")
    used = [usage for usage in computes.list_usage() if usage.id.lower().find(f"/computes/{name.lower()}/") > 0]
    assert used
