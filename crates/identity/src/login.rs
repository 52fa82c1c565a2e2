//! A person signs in with name and password.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use crate::attempts::Attempts;
use crate::directory::{DirectoryObject, User};
use crate::error::IdentityError;
use crate::grant::DEVICE_CODE_LIFETIME;
use crate::identity::{Identity, Service};
use crate::principal::Principal;
use crate::secret::{Secret, fingerprint};

impl Identity {
    /// The person with this name and password.
    ///
    /// After ten failures for a name, or a hundred from one address, within fifteen minutes, further attempts have to
    /// wait, right or wrong.
    pub async fn check_password(
        &self,
        user_name: &str,
        password: &Secret,
        source: Option<IpAddr>,
    ) -> Result<Principal, LoginError> {
        let user = self.0.user_by_password(user_name, password, source).await?;
        Ok(self.0.directory.principal(&DirectoryObject::User(user)).await?)
    }
}

impl Service {
    pub(crate) async fn user_by_password(
        &self,
        user_name: &str,
        password: &Secret,
        source: Option<IpAddr>,
    ) -> Result<User, LoginError> {
        let now = self.now();
        let source = source.map(|source| source.to_string());
        // Names of any length are counted under a short one; nothing tells whether they exist.
        let name = fingerprint("user-name", &user_name.to_ascii_lowercase());
        // The address comes first: one that is shut out cannot use up the attempts of a name.
        if let Some(source) = &source {
            self.limits.by_source.begin(source, now).map_err(LoginError::TooManyFailures)?;
        }
        self.limits.by_name.begin(&name, now).map_err(LoginError::TooManyFailures)?;
        let taken_back = || {
            if let Some(source) = &source {
                self.limits.by_source.succeeded(source);
            }
            self.limits.by_name.succeeded(&name);
        };
        match self.directory.user_by_password(user_name, password.clone()).await {
            Ok(Some(user)) => {
                taken_back();
                Ok(user)
            }
            Ok(None) => {
                tracing::info!(?source, "a sign-in failed");
                Err(LoginError::Wrong)
            }
            Err(error) => {
                taken_back();
                Err(error.into())
            }
        }
    }
}

/// Failed sign-ins.
#[derive(Debug)]
pub(crate) struct LoginLimits {
    by_name: Attempts,
    by_source: Attempts,
    /// Guesses at the codes that devices show.
    pub(crate) user_codes: Attempts,
    /// Sign-ins with a device code that were started, by source.
    device_codes_by_source: Attempts,
    /// The same, all together.
    device_codes: Attempts,
}

impl LoginLimits {
    /// Counts the start of a sign-in with a device code, which anybody may ask for. Answers the seconds to wait when too
    /// many were started.
    pub(crate) fn begin_device_code(&self, source: Option<IpAddr>, now: Timestamp) -> Result<(), u16> {
        let source = source.map(|source| source.to_string()).unwrap_or_default();
        self.device_codes_by_source.begin(&source, now)?;
        self.device_codes.begin("", now)
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            by_name: Attempts::new(FAILURES_BY_NAME, WINDOW),
            by_source: Attempts::new(FAILURES_BY_SOURCE, WINDOW),
            user_codes: Attempts::new(FAILURES_BY_NAME, WINDOW),
            device_codes_by_source: Attempts::new(DEVICE_CODES_BY_SOURCE, DEVICE_CODE_LIFETIME),
            device_codes: Attempts::new(DEVICE_CODES, DEVICE_CODE_LIFETIME),
        }
    }
}

/// Why a person was not let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Wrong name or wrong password; which of them is not said, and a disabled account looks the same.
    #[error("The user name or the password is wrong.")]
    Wrong,
    /// Too many failures; the number of seconds to wait.
    #[error("Too many failed sign-ins. Wait {0} seconds and try again.")]
    TooManyFailures(u16),
    /// Too many people sign in at this moment.
    #[error("Too many sign-ins at once. Try again in a moment.")]
    Busy,
    /// The service cannot work.
    #[error("Sign-in does not work just now. Try again in a moment; the server's log says more.")]
    Unavailable(#[source] IdentityError),
}

impl From<IdentityError> for LoginError {
    fn from(error: IdentityError) -> Self {
        if matches!(error, IdentityError::Busy) {
            return Self::Busy;
        }
        tracing::error!(%error, "a sign-in could not be checked");
        Self::Unavailable(error)
    }
}

const FAILURES_BY_NAME: u32 = 10;
/// Many people may share one address.
const FAILURES_BY_SOURCE: u32 = 100;
/// Many people may share one address here, too.
const DEVICE_CODES_BY_SOURCE: u32 = 60;
/// So that a store never holds more than twice as many open codes for one replica, however many addresses ask.
const DEVICE_CODES: u32 = 1_000;
const WINDOW: SignedDuration = SignedDuration::from_mins(15);
