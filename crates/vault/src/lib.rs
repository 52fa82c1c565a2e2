//! Sealing: how Bastide keeps secrets at rest.
//!
//! A [`Sealer`] turns plain bytes into a sealed record that only opens again for the same owner and field, so that a
//! row copied over another one is refused. The key comes from a [`key file`](Sealer::open); later key providers
//! replace that file and nothing else.
//!
//! ```
//! # fn main() -> Result<(), bastide_vault::SealError> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let key_file = folder.path().join("key");
//! use bastide_vault::{SealContext, Sealer};
//!
//! let sealer = Sealer::open_or_create(&key_file)?;
//! let context = SealContext { owner: uuid::Uuid::nil(), field: "password" };
//! let sealed = sealer.seal(&context, b"open sesame")?;
//! assert_eq!(*sealer.open_sealed(&context, &sealed)?, *b"open sesame");
//! # Ok(())
//! # }
//! ```

mod key_file;
mod sealer;

pub use key_file::KEY_LENGTH;
pub use sealer::{SealContext, SealError, Sealer};
