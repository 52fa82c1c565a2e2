//! Quotas, their use, and the sizes of machines (mission.md U2).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, House};

const CORES: &str = "Total_Cluster_Dedicated_Regional_vCPUs";

async fn house() -> House {
    let house = House::found().await;
    house.make_group("rg").await;
    house.make_hub("rg", "hub").await;
    house
}

fn location(house: &House) -> String {
    format!("/subscriptions/{}/providers/Microsoft.MachineLearningServices/locations/westeurope", house.subscription)
}

async fn list(house: &House, what: &str) -> Vec<Value> {
    let answer = house.get(&format!("{}/{what}", location(house))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["value"].as_array().unwrap().clone()
}

/// The limit of the quota whose id ends so.
async fn limit(house: &House, id: &str) -> Option<u64> {
    let quotas = list(house, "quotas").await;
    quotas.iter().find(|quota| quota["id"].as_str().unwrap().ends_with(id))?["limit"].as_u64()
}

async fn set(house: &House, id: &str, limit: i64) -> String {
    let line = json!({"id": id, "type": "Microsoft.MachineLearningServices/workspaces/quotas", "limit": limit, "unit": "Count"});
    let path = format!("{}/updateQuotas", location(house));
    let answer: Answer = house.call(Method::POST, &path, Some(json!({"value": [line]}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["value"][0]["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn sizes_and_limits_come_from_the_host() {
    let house = house().await;
    let sizes = list(&house, "vmSizes").await;
    assert!(sizes.iter().any(|size| size["name"] == "Standard_DS2_v2" && size["vCPUs"] == 2), "{sizes:?}");
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    assert_eq!(limit(&house, CORES).await, Some(cores * 16));
    let usages = list(&house, "usages").await;
    assert!(usages.iter().all(|usage| usage["currentValue"] == 0 && usage["unit"] == "Count"), "{usages:?}");
    assert_eq!(usages[0]["name"]["value"], "Total Cluster Dedicated Regional Machines");
}

#[tokio::test]
async fn limits_are_lowered_for_a_location_and_for_a_hub_and_given_back() {
    let house = house().await;
    let most = i64::try_from(limit(&house, CORES).await.unwrap()).unwrap();
    let own = format!("{}/quotas/{CORES}", location(&house));
    let of_hub = format!("{}/quotas/{CORES}", house.hub("rg", "hub"));
    assert_eq!(set(&house, &own, most + 1).await, "InvalidQuotaExceedsSubscriptionLimit", "more than the host has");
    assert_eq!(set(&house, &own, 8).await, "Success");
    assert_eq!(limit(&house, &format!("locations/westeurope/quotas/{CORES}")).await, Some(8));
    assert_eq!(set(&house, &of_hub, 9).await, "InvalidQuotaExceedsSubscriptionLimit");
    assert_eq!(set(&house, &of_hub.to_uppercase().replace("/QUOTAS/", "/quotas/"), 4).await, "Success");
    assert_eq!(limit(&house, &format!("workspaces/hub/quotas/{CORES}")).await, Some(4));
    assert_eq!(set(&house, &of_hub, -1).await, "Success");
    assert_eq!(limit(&house, &format!("workspaces/hub/quotas/{CORES}")).await, None);
    let wrong = format!("{}/quotas/Standard_Q_Family_Cluster_Dedicated_vCPUs", location(&house));
    assert_eq!(set(&house, &wrong, 1).await, "InvalidVMFamilyName");
    let nowhere = format!("{}/quotas/{CORES}", house.hub("rg", "none"));
    assert_eq!(set(&house, &nowhere, 1).await, "Failure");
    assert_eq!(set(&house, "nonsense", 1).await, "Failure");
}

#[tokio::test]
async fn quotas_are_for_those_who_may_see_and_set_them() {
    let house = house().await;
    let (_, token) = house.stranger().await;
    for (method, what) in [(Method::GET, "usages"), (Method::GET, "quotas"), (Method::POST, "updateQuotas")] {
        let path = format!("{}/{what}", location(&house));
        let refused = house.call_as(&token, method, &path, None, &[]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{what}: {refused:?}");
    }
}
