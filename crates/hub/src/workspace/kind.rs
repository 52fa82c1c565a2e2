//! What a workspace is for.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Document;

use crate::field::refused;

/// What a workspace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A workspace that stands alone.
    Default,
    /// A hub: security, network and connections that its projects share.
    Hub,
    /// A project in a hub.
    Project,
    /// A feature store.
    FeatureStore,
}

impl Kind {
    /// Reads a kind in any case; absent is [`Kind::Default`].
    pub fn read(text: Option<&str>) -> Result<Self, ArmError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Self::Default) };
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let message = format!("'{text}' is not a kind of workspace. Use Hub, Project, Default or FeatureStore.");
            refused("kind", message)
        })
    }

    /// The kind of a workspace as stored.
    pub fn of(document: &Document) -> Self {
        Self::read(document.kind.as_deref()).unwrap_or(Self::Default)
    }

    /// The canonical spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::Hub => "Hub",
            Self::Project => "Project",
            Self::FeatureStore => "FeatureStore",
        }
    }

    const ALL: [Self; 4] = [Self::Default, Self::Hub, Self::Project, Self::FeatureStore];
}
