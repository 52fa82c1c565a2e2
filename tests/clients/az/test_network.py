"""`az network`: what stands around a hub. Stored resources, with the ids that templates want; nothing runs there."""

import pytest
from support import hub

ZONE = "privatelink.blob.core.windows.net"


@pytest.fixture(scope="module")
def vnet(az, rg, unique):
    """A network with one subnet, `inner`; returns its name."""
    name = unique("vnet")
    az.ok("network", "vnet", "create", "-g", rg, "-n", name, "--address-prefix", "10.1.0.0/16",
          "--subnet-name", "inner", "--subnet-prefix", "10.1.0.0/24")  # fmt: skip
    return name


@pytest.fixture(scope="module")
def storage(wire, bastide, rg, unique):
    return hub.associated(wire, f"{bastide.subscription}/resourceGroups/{rg}", unique, "storage")["id"]


def test_subnets_are_parts_of_their_network_and_resources_of_their_own(az, rg, vnet):
    subnet = ["-g", rg, "--vnet-name", vnet]
    made = az.ok("network", "vnet", "subnet", "create", *subnet, "-n", "second", "--address-prefix", "10.1.1.0/24")
    assert made["id"].endswith(f"/virtualNetworks/{vnet}/subnets/second")
    shown = az.ok("network", "vnet", "show", "-g", rg, "-n", vnet)
    assert [one["name"] for one in shown["subnets"]] == ["inner", "second"]
    # az reads the network, changes it and puts all of it back.
    kept = az.ok("network", "vnet", "update", "-g", rg, "-n", vnet, "--set", "tags.team=red")
    assert [one["id"] for one in kept["subnets"]] == [one["id"] for one in shown["subnets"]]
    az.ok("network", "vnet", "subnet", "delete", *subnet, "-n", "second")
    assert az.ok("network", "vnet", "subnet", "list", *subnet, "--query", "[].name") == ["inner"]


def test_a_private_endpoint_waits_for_a_service_behind_it(az, rg, vnet, storage, unique):
    name = unique("pe")
    made = az.ok("network", "private-endpoint", "create", "-g", rg, "-n", name, "--vnet-name", vnet,
                 "--subnet", "inner", "--private-connection-resource-id", storage, "--group-id", "blob",
                 "--connection-name", "to-storage")  # fmt: skip
    (connection,) = made["privateLinkServiceConnections"]
    assert (connection["groupIds"], connection["privateLinkServiceId"]) == (["blob"], storage)
    assert connection["privateLinkServiceConnectionState"]["status"] == "Pending"
    az.ok("network", "private-dns", "zone", "create", "-g", rg, "-n", ZONE)
    az.ok("network", "private-dns", "link", "vnet", "create", "-g", rg, "-z", ZONE, "-n", "link", "-v", vnet,
          "-e", "false")  # fmt: skip
    assert az.ok("network", "private-dns", "link", "vnet", "list", "-g", rg, "-z", ZONE, "--query", "[].name") == [
        "link"
    ]
    group = az.ok("network", "private-endpoint", "dns-zone-group", "create", "-g", rg, "--endpoint-name", name,
                  "-n", "default", "--private-dns-zone", ZONE, "--zone-name", "blob")  # fmt: skip
    assert group["privateDnsZoneConfigs"][0]["privateDnsZoneId"].endswith(f"/privateDnsZones/{ZONE}")
    az.ok("network", "private-endpoint", "delete", "-g", rg, "-n", name)
    assert az.run("network", "private-endpoint", "show", "-g", rg, "-n", name).code == 3


def test_a_security_group_is_put_on_a_subnet(az, rg, vnet, unique):
    name = unique("nsg")
    group = az.ok("network", "nsg", "create", "-g", rg, "-n", name)["NewNSG"]
    subnet = az.ok("network", "vnet", "subnet", "update", "-g", rg, "--vnet-name", vnet, "-n", "inner",
                   "--network-security-group", name)  # fmt: skip
    assert subnet["networkSecurityGroup"]["id"] == group["id"]


def test_addresses_gateways_and_interfaces_are_stored(az, rg, vnet, unique):
    address, gateway, interface = (unique(word) for word in ("ip", "nat", "nic"))
    made = az.ok("network", "public-ip", "create", "-g", rg, "-n", address)["publicIp"]
    nat = az.ok("network", "nat", "gateway", "create", "-g", rg, "-n", gateway, "--public-ip-addresses", address)
    assert nat["publicIpAddresses"][0]["id"] == made["id"]
    nic = az.ok("network", "nic", "create", "-g", rg, "-n", interface, "--vnet-name", vnet, "--subnet", "inner")
    (configuration,) = nic["NewNIC"]["ipConfigurations"]
    assert configuration["subnet"]["id"].endswith("/subnets/inner")


def test_what_a_private_endpoint_may_lead_to_in_a_hub(az, wire, bastide, rg, unique):
    made = hub.create(wire, f"{bastide.subscription}/resourceGroups/{rg}/{hub.KIND}/{unique('hub')}")
    found = az.ok("network", "private-link-resource", "list", "--id", made["id"])
    assert [one["properties"]["groupId"] for one in found] == ["amlworkspace"]


def test_rules_of_a_security_group_are_made_one_by_one(az, rg, unique):
    name = unique("nsg")
    az.ok("network", "nsg", "create", "-g", rg, "-n", name)
    az.ok("network", "nsg", "rule", "create", "-g", rg, "--nsg-name", name, "-n", "none", "--priority", "100",
          "--access", "Deny", "--direction", "Outbound")  # fmt: skip
    assert az.ok("network", "nsg", "rule", "list", "-g", rg, "--nsg-name", name, "--query", "[].name") == ["none"]
    assert az.ok("network", "nsg", "show", "-g", rg, "-n", name, "--query", "securityRules[].name") == ["none"]


def test_a_private_zone_has_records(az, rg, unique):
    zone = f"{unique('zone')}.example"
    az.ok("network", "private-dns", "zone", "create", "-g", rg, "-n", zone)
    made = az.ok("network", "private-dns", "record-set", "a", "add-record", "-g", rg, "-z", zone, "-n", "www",
                 "-a", "10.0.0.4")  # fmt: skip
    assert [record["ipv4Address"] for record in made["aRecords"]] == ["10.0.0.4"]
    listed = az.ok("network", "private-dns", "record-set", "a", "list", "-g", rg, "-z", zone, "--query", "[].name")
    assert listed == ["www"]
