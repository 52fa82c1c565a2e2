//! How a message travels: its length in four bytes, most significant first, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Writes a message as it travels.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEAD];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEAD;
    if length > LIMIT {
        return Err(FrameError::TooLong(length));
    }
    let head = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?.to_be_bytes();
    for (to, from) in bytes.iter_mut().zip(head) {
        *to = from;
    }
    Ok(bytes)
}

/// The length of the JSON after a head of [`HEAD`] bytes.
pub fn length(head: [u8; HEAD]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_be_bytes(head)).map_err(|_| FrameError::TooLong(usize::MAX))?;
    if length > LIMIT { Err(FrameError::TooLong(length)) } else { Ok(length) }
}

/// Reads the JSON after the head.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_slice(json)?)
}

/// A message that cannot travel.
#[derive(Debug, Error)]
pub enum FrameError {
    /// Longer than [`LIMIT`].
    #[error("a message of {0} bytes is longer than the limit of {LIMIT}")]
    TooLong(usize),
    /// Not a message of this version.
    #[error("not a message of this version: {0}")]
    Json(#[from] serde_json::Error),
}

/// Bytes before the JSON.
pub const HEAD: usize = 4;

/// A plan with 100,000 rules is about 12 MB.
pub const LIMIT: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::{Purpose, ToWorker};

    #[test]
    fn what_is_encoded_is_decoded() {
        let message = ToWorker::Listener { purpose: Purpose::Relay { address: [10, 0, 0, 1].into(), port: 8443 } };
        let bytes = encode(&message).unwrap();
        let (head, json) = bytes.split_at(HEAD);
        assert_eq!(length(head.try_into().unwrap()).unwrap(), json.len());
        assert_eq!(decode::<ToWorker>(json).unwrap(), message);
    }

    #[test]
    fn what_is_not_of_this_version_is_refused() {
        assert!(length(u32::MAX.to_be_bytes()).is_err());
        assert!(decode::<ToWorker>(br#"{"listener":{"purpose":"tls","more":1}}"#).is_err());
        assert!(decode::<ToWorker>(br#""open""#).is_err());
    }
}
