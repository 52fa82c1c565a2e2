//! Reads hostile first bytes into a name or a refusal: what a stranger inside a hub sends before the wall has decided.
//!
//! Everything here is pure: bytes in, a verdict out, no socket, no clock, no panic. The readers are strict on purpose:
//! what two programs could read in two ways is refused, because the wall and the far side would be those two programs.
//!
//! ```
//! use bastide_inspect::{Name, NamePattern, NameTable};
//!
//! let mut rules = NameTable::new();
//! rules.insert(&NamePattern::parse("*.anaconda.org")?, "conda");
//! let host = Name::parse("Conda.Anaconda.org.")?;
//! assert_eq!(rules.lookup(&host), Some(&"conda"));
//! assert!(rules.lookup(&Name::parse("anaconda.org")?).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod client_hello;
mod cursor;
pub mod http;
mod name;
mod pattern;
pub mod retry;
mod table;

pub use name::{Name, NameError};
pub use pattern::{NamePattern, NamePatternError};
pub use table::NameTable;
