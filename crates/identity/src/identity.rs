//! The identity service: everything that gives out tokens and everything that believes them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_arm::clock::Clock;
use bastide_store::Store;
use bastide_vault::Sealer;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access_token::{AccessClaims, AuthenticationError, Demands, LIFETIME, TOKEN_TYPE};
use crate::attempts::Attempts;
use crate::audience::Audiences;
use crate::directory::{Directory, DirectoryObject};
use crate::error::IdentityError;
use crate::grant::POLL_INTERVAL;
use crate::key_source::{HttpsKeySource, IssuerKeys, KeySource};
use crate::login::LoginLimits;
use crate::oauth_error::{OAuthError, Refusal};
use crate::password::Passwords;
use crate::principal::{Principal, PrincipalKind};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::signing_keys::SigningKeys;
use crate::token_answer::TokenAnswer;
use crate::token_endpoint::{self, Flavour, TokenEndpoint};
use crate::token_form::TokenForm;

/// The token service and the directory behind it. Cheap to clone.
#[derive(Clone)]
pub struct Identity(pub(crate) Arc<Service>);

impl Identity {
    /// Opens the service on a store; makes the signing keys on the first start.
    pub async fn open(
        store: Store,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Self, IdentityError> {
        let source = Arc::new(HttpsKeySource::new()?);
        Self::open_with(store, sealer, clock, settings, source).await
    }

    /// As [`Identity::open`], with another source for the keys of outside issuers.
    pub async fn open_with(
        store: Store,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
        settings: Settings,
        source: Arc<dyn KeySource>,
    ) -> Result<Self, IdentityError> {
        let keys = SigningKeys::open(store.clone(), sealer, clock.clone()).await?;
        let passwords = Arc::new(Passwords::new(settings.password_cost)?);
        let directory = Directory::new(store.clone(), clock.clone(), passwords, settings.tenant_id);
        let audiences = Audiences::new(&settings.audiences);
        Ok(Self(Arc::new(Service {
            issuer_keys: IssuerKeys::new(source, &settings.trusted_issuers),
            limits: LoginLimits::default(),
            polls: Attempts::new(1, POLL_INTERVAL),
            store,
            clock,
            settings,
            audiences,
            keys,
            directory,
        })))
    }

    /// The principal that an access token for any of the configured audiences speaks for.
    ///
    /// A principal that was disabled or deleted, or whose sessions were revoked, is refused from the next request on, and
    /// its groups are those of this moment: what is remembered of it is good for one access epoch, which is read anew.
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal, AuthenticationError> {
        Ok(self.0.authenticate(bearer, &self.0.audiences).await?.principal)
    }

    /// As [`Identity::authenticate`], for a service that has audiences of its own: a token that was given for another
    /// one must not work there.
    pub async fn authenticate_for(
        &self,
        bearer: &str,
        audiences: &[String],
    ) -> Result<Authenticated, AuthenticationError> {
        self.0.authenticate(bearer, &Audiences::new(audiences)).await
    }

    /// Answers a request to the token endpoint, of any grant type.
    pub async fn token(&self, endpoint: &TokenEndpoint, form: &TokenForm) -> Result<TokenAnswer, OAuthError> {
        self.0.grant(endpoint, form).await.map_err(|refusal| self.0.stamp(refusal, form))
    }

    /// The OpenID configuration of a flavour at `origin` (`https://host:port`). `tenant` is what stands in the path:
    /// the tenant's id, `organizations` or `common`; the adfs flavour has none and takes anything.
    pub fn discovery(&self, flavour: Flavour, origin: &str, tenant: &str) -> Result<Value, OAuthError> {
        let Settings { tenant_id, allow_password, .. } = self.0.settings;
        if flavour == Flavour::Tenant {
            self.tenant(tenant)?;
        }
        Ok(token_endpoint::discovery(flavour, origin, tenant_id, allow_password))
    }

    /// Whether `tenant`, as it stands in a path, is the tenant of this Bastide: its id, `organizations` or `common`.
    pub fn tenant(&self, tenant: &str) -> Result<Uuid, OAuthError> {
        let tenant_id = self.0.settings.tenant_id;
        if token_endpoint::is_tenant(tenant, tenant_id) {
            return Ok(tenant_id);
        }
        Err(self.0.stamp(Refusal::unknown_tenant(), &TokenForm::default()))
    }

    /// The public signing keys: the current one, the next one, and those whose tokens still live.
    pub async fn jwks(&self) -> Result<Value, IdentityError> {
        self.0.keys.jwks().await
    }

    /// Users, groups, service principals and managed identities.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }
}

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// The principal and its groups.
    pub principal: Principal,
    /// The access epoch as of which they are known, or an earlier one.
    pub epoch: i64,
}

/// What the clones share.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) audiences: Audiences,
    pub(crate) keys: SigningKeys,
    pub(crate) directory: Directory,
    pub(crate) issuer_keys: IssuerKeys,
    pub(crate) limits: LoginLimits,
    /// When each device code was last asked for.
    pub(crate) polls: Attempts,
}

impl Service {
    async fn authenticate(&self, bearer: &str, audiences: &Audiences) -> Result<Authenticated, AuthenticationError> {
        let Settings { tenant_id, issuer, .. } = &self.settings;
        let demands = Demands { issuer, tenant_id: *tenant_id, audiences, now: self.clock.now() };
        let claims = AccessClaims::verify(bearer, &self.keys, &demands).await?;
        let (epoch, known) = self.directory.signs_in(claims.oid).await?;
        let known = known.ok_or(AuthenticationError::Revoked)?;
        if known.principal.kind == PrincipalKind::Group || !known.standing.admits(claims.issued()) {
            return Err(AuthenticationError::Revoked);
        }
        Ok(Authenticated { principal: known.principal.clone(), epoch })
    }

    /// Issues an access token for a principal that has proved itself to `client_id`.
    pub(crate) async fn access_token(&self, grant: &Grant<'_>) -> Result<IssuedToken, IdentityError> {
        let Grant { object, client_id, resource, scope } = *grant;
        let issued = object.standing().issue_time(self.clock.now());
        let (issued, id) = (issued.as_second(), Uuid::new_v4());
        let user = object.as_user();
        let claims = AccessClaims {
            iss: self.settings.issuer.clone(),
            aud: resource.to_owned(),
            tid: self.settings.tenant_id,
            oid: object.object_id(),
            sub: object.object_id().to_string(),
            appid: client_id,
            azp: client_id,
            idtyp: if user.is_some() { "user" } else { "app" }.to_owned(),
            ver: "2.0".to_owned(),
            iat: issued,
            nbf: issued,
            exp: issued + LIFETIME.as_secs(),
            jti: id,
            uti: id,
            upn: user.map(|user| user.user_principal_name.to_string()),
            name: user.map(|user| user.display_name.clone()),
            scp: scope.map(ToOwned::to_owned),
            xms_mirid: object.as_service_principal().and_then(|principal| principal.resource_id.clone()),
        };
        let token = Secret::new(self.keys.sign(TOKEN_TYPE, &claims).await?);
        Ok(IssuedToken { token, not_before: claims.nbf, expires: claims.exp, lifetime: LIFETIME.as_secs() })
    }

    /// The id that MSAL files an account under.
    pub(crate) fn client_info(&self, object_id: Uuid) -> String {
        let info = json!({"uid": object_id, "utid": self.settings.tenant_id});
        URL_SAFE_NO_PAD.encode(info.to_string())
    }

    pub(crate) fn stamp(&self, refusal: Refusal, form: &TokenForm) -> OAuthError {
        refusal.stamped(self.clock.now(), form.correlation_id)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What an access token is issued for.
#[derive(Clone, Copy)]
pub(crate) struct Grant<'a> {
    pub(crate) object: &'a DirectoryObject,
    pub(crate) client_id: Uuid,
    pub(crate) resource: &'a str,
    pub(crate) scope: Option<&'a str>,
}

/// A fresh access token and its times, in seconds since the epoch.
pub(crate) struct IssuedToken {
    pub(crate) token: Secret,
    pub(crate) not_before: i64,
    pub(crate) expires: i64,
    /// Seconds.
    pub(crate) lifetime: i64,
}
