"""`az monitor log-analytics`, `az search` and insights by `az resource`: what hubs report to and search in."""

import pytest
from support.secrets import SECRETS

INSIGHTS = ["--resource-type", "Microsoft.Insights/components", "--api-version", "2020-02-02"]


@pytest.fixture
def name(unique):
    return unique("mon")


def test_the_life_of_a_log_analytics_workspace(az, rg, name):
    of = ["-g", rg, "-n", name]
    made = az.ok("monitor", "log-analytics", "workspace", "create", *of)
    assert made["customerId"]
    assert az.ok("monitor", "log-analytics", "workspace", "show", *of)["customerId"] == made["customerId"]
    changed = az.ok("monitor", "log-analytics", "workspace", "update", *of, "--retention-time", "60")
    assert (changed["retentionInDays"], changed["customerId"]) == (60, made["customerId"])
    keys = az.ok("monitor", "log-analytics", "workspace", "get-shared-keys", *of)
    SECRETS.add(*keys.values())
    assert set(keys) == {"primarySharedKey", "secondarySharedKey"}
    assert name in az.ok("monitor", "log-analytics", "workspace", "list", "-g", rg, "--query", "[].name")
    az.ok("monitor", "log-analytics", "workspace", "delete", *of, "-y")
    assert az.run("monitor", "log-analytics", "workspace", "show", *of).code == 3


def test_insights_stand_on_a_log_analytics_workspace(az, rg, name):
    """The core of az has no command of its own for them."""
    logs = az.ok("monitor", "log-analytics", "workspace", "create", "-g", rg, "-n", name)["id"]
    body = f'{{"Application_Type": "web", "WorkspaceResourceId": "{logs}"}}'
    made = az.ok("resource", "create", "-g", rg, "-n", name, *INSIGHTS, "-p", body)["properties"]
    assert made["WorkspaceResourceId"] == logs
    assert made["InstrumentationKey"] and made["InstrumentationKey"] in made["ConnectionString"]
    again = az.ok("resource", "show", "-g", rg, "-n", name, *INSIGHTS)["properties"]
    assert again["InstrumentationKey"] == made["InstrumentationKey"]


def test_the_life_of_a_search_service(az, rg, name):
    made = az.ok("search", "service", "create", "-g", rg, "-n", name, "--sku", "standard", "-l", "westus")
    assert made["sku"]["name"] == "standard"
    keys = az.ok("search", "admin-key", "show", "-g", rg, "--service-name", name)
    SECRETS.add(*keys.values())
    assert set(keys) == {"primaryKey", "secondaryKey"}
    [query] = az.ok("search", "query-key", "list", "-g", rg, "--service-name", name)
    SECRETS.add(query["key"])
    assert query["key"] not in keys.values()
    az.ok("search", "service", "delete", "-g", rg, "-n", name, "-y")
    assert az.run("search", "service", "show", "-g", rg, "-n", name).code == 3
