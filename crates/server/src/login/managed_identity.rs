//! `/msi/token`: machines that carry an identity ask for its tokens.
//!
//! Two protocols differ in the header that holds the machine's secret: `X-IDENTITY-HEADER` from api-version 2019-08-01 on
//! (App Service), `secret` with 2017-09-01 (Azure Machine Learning computes). The clients take 400 `invalid_request` for
//! "there is no identity here" and go on to their next way of signing in, so that is what a request without a header gets.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use bastide_identity::TokenForm;

use super::Login;
use super::answer::{Refusal, private, refused};
use super::fields::Fields;
use super::sender::Sender;

/// GET `/msi/token`.
pub(super) async fn token(State(login): State<Login>, sender: Sender, RawQuery(query): RawQuery) -> Response {
    let asked = match Asked::read(&sender.headers, &query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(refusal) => return login.refuse(refusal),
    };
    match login.identity.managed_identity_token(Some(&asked.secret), &asked.form).await {
        Ok(answer) => private(answer.to_body()),
        Err(error) => refused(&error),
    }
}

struct Asked {
    secret: String,
    form: TokenForm,
}

impl Asked {
    fn read(headers: &HeaderMap, query: &str) -> Result<Self, Refusal> {
        // A forged request on a server's behalf comes through a proxy, and proxies say so.
        if FORWARDED.iter().any(|name| headers.contains_key(name)) {
            return Err(Refusal::invalid_request(
                "The request was forwarded. Ask from the machine itself, without a proxy.",
            ));
        }
        let fields = Fields::parse(query.as_bytes())?;
        let header = match fields.value("api-version") {
            Some("2017-09-01") => SECRET,
            Some(version) if version >= "2019-08-01" => X_IDENTITY_HEADER,
            _ => {
                let sentence = "The query must contain api-version=2019-08-01, or 2017-09-01 with MSI_SECRET.";
                return Err(Refusal::invalid_request(sentence));
            }
        };
        let mut values = headers.get_all(&header).iter();
        let secret = match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(secret), None) if !secret.is_empty() => secret.to_owned(),
            _ => {
                let sentence = format!(
                    "The header {header} is missing. Send IDENTITY_HEADER as X-IDENTITY-HEADER, or MSI_SECRET as secret."
                );
                return Err(Refusal::invalid_request(sentence));
            }
        };
        Ok(Self { secret, form: TokenForm::from_pairs(fields.into_pairs()) })
    }
}

const X_IDENTITY_HEADER: HeaderName = HeaderName::from_static("x-identity-header");
const SECRET: HeaderName = HeaderName::from_static("secret");
const FORWARDED: [HeaderName; 2] = [HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("forwarded")];
