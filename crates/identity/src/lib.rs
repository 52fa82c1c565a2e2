//! Who is who: the token service, the directory of principals, and managed identities.
//!
//! [`Identity`] answers two questions. *Give me a token* ([`Identity::token`] and its companions) for people,
//! applications and resources, in the ways that `az`, MSAL, azure-identity and Terraform ask. *Whose token is this*
//! ([`Identity::authenticate`]) for every request, with the directory read afresh each time, so that a revocation
//! counts from the next request on. There is no way in without a proof, and none that accepts any token.
//!
//! The crate knows no HTTP: requests come in as forms, answers go out as JSON values.

mod access_token;
mod attempts;
mod audience;
mod bootstrap;
mod directory;
mod error;
mod grant;
mod identity;
mod key_source;
mod login;
mod oauth_error;
mod password;
mod principal;
mod public_client;
mod secret;
mod settings;
mod signing_keys;
mod token_answer;
mod token_endpoint;
mod token_form;

pub use access_token::AuthenticationError;
pub use bootstrap::{BootstrapIds, BootstrapNames, BootstrapSecrets, Bootstrapped};
pub use directory::{
    ApplicationUris, Author, Credential, CredentialProof, Directory, DirectoryObject, Group, IdentityEndpoint, Names,
    NewCertificate, NewFederatedCredential, NewSecret, NewServicePrincipal, NewUser, ServicePrincipal,
    ServicePrincipalType, Standing, User, UserPrincipalName, Warrant,
};
pub use error::IdentityError;
pub use grant::{AuthorizeError, AuthorizeRequest, DeviceCodeError, DeviceSignIn, ResponseMode, ReturnAddress};
pub use identity::{Authenticated, Identity};
pub use key_source::{HttpsKeySource, KeySource, KeySourceError};
pub use login::LoginError;
pub use oauth_error::OAuthError;
pub use principal::{Principal, PrincipalKind};
pub use secret::Secret;
pub use settings::{PasswordCost, Settings, TrustedIssuer, WELL_KNOWN_RESOURCE_MANAGER_AUDIENCES};
pub use token_answer::{ManagedIdentityAnswer, TokenAnswer};
pub use token_endpoint::{Flavour, TokenEndpoint};
pub use token_form::TokenForm;
