//! What clients read before they ask for anything.

use bastide_identity::{Flavour, Settings};
use url::Url;

use crate::fixture::{Fixture, ORIGIN, TENANT, settings};

#[tokio::test]
async fn each_flavour_names_itself_and_everything_below_it() {
    let fixture = Fixture::new().await;
    for (flavour, tenant, issuer, base) in [
        (Flavour::Adfs, "adfs", format!("{ORIGIN}/adfs"), format!("{ORIGIN}/adfs")),
        (Flavour::Tenant, &TENANT.to_string(), format!("{ORIGIN}/{TENANT}/v2.0"), format!("{ORIGIN}/{TENANT}")),
    ] {
        let document = fixture.identity.discovery(flavour, ORIGIN, tenant).unwrap();
        assert_eq!(document["issuer"], issuer);
        assert_eq!(document["token_endpoint"], format!("{base}/oauth2/v2.0/token"));
        for endpoint in ["authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri"] {
            let address = Url::parse(document[endpoint].as_str().unwrap()).unwrap();
            assert_eq!(address.scheme(), "https");
            assert!(address.as_str().starts_with(&base), "{endpoint}: MSAL reads the tenant from the path");
        }
        assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
        assert_eq!(document["id_token_signing_alg_values_supported"], serde_json::json!(["RS256"]));
    }
}

#[tokio::test]
async fn the_documents_follow_the_origin_that_was_asked() {
    let fixture = Fixture::new().await;
    let internal = "https://10.0.0.1:8443";
    let document = fixture.identity.discovery(Flavour::Tenant, internal, "common").unwrap();
    assert_eq!(document["issuer"], format!("{internal}/{TENANT}/v2.0"));
}

#[tokio::test]
async fn organizations_and_common_mean_the_one_tenant_and_others_do_not_exist() {
    let fixture = Fixture::new().await;
    let upper = TENANT.to_string().to_uppercase();
    for tenant in ["organizations", "common", "Organizations", &upper] {
        let document = fixture.identity.discovery(Flavour::Tenant, ORIGIN, tenant).unwrap();
        assert_eq!(document["issuer"], format!("{ORIGIN}/{TENANT}/v2.0"), "{tenant}");
    }
    for tenant in ["11111111-1111-1111-1111-111111111111", "consumers", "contoso.com", "", "adfs"] {
        let error = fixture.identity.discovery(Flavour::Tenant, ORIGIN, tenant).unwrap_err();
        assert_eq!((error.status, error.error_codes), (400, vec![90_002]), "{tenant}");
    }
}

#[tokio::test]
async fn the_password_grant_is_announced_only_where_it_works() {
    let fixture = Fixture::with(Settings { allow_password: true, ..settings() }).await;
    let grants =
        |flavour| fixture.identity.discovery(flavour, ORIGIN, "common").unwrap()["grant_types_supported"].clone();
    let password = &serde_json::json!("password");
    assert!(grants(Flavour::Adfs).as_array().unwrap().contains(password));
    assert!(!grants(Flavour::Tenant).as_array().unwrap().contains(password));
}
