//! Where a command of `az ml` works, and the arguments that all of them take.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use crate::client::{Api, ClientError, segment};
use crate::output::Format;

/// A hub or project, and how the answer looks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The resource group.
    #[arg(long, short = 'g', env = "AZURE_DEFAULTS_GROUP", hide_env_values = true, value_name = "NAME")]
    pub(crate) resource_group: String,
    /// The hub or project.
    #[arg(long, short = 'w', env = "AZURE_DEFAULTS_WORKSPACE", hide_env_values = true, value_name = "NAME")]
    pub(crate) workspace_name: String,
    /// The subscription [default: the bootstrap client's, or the only one].
    #[arg(long, value_name = "ID")]
    pub(crate) subscription: Option<Uuid>,
    /// The data directory of a local Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Say nothing about the progress of long work.
    #[arg(long)]
    pub(crate) only_show_errors: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// A hub or project of a Bastide one is signed in to.
pub(crate) struct Workspace {
    pub(crate) api: Api,
    /// Path of its resource id.
    path: String,
    subscription: Uuid,
}

impl Place {
    /// Signs in.
    pub(crate) async fn open(&self) -> Result<Workspace, ClientError> {
        let api = Api::open(self.data_dir.as_deref()).await?;
        let subscription = api.subscription(self.subscription).await?;
        Ok(Workspace::new(api, subscription, &self.resource_group, &self.workspace_name))
    }
}

impl Workspace {
    pub(crate) fn new(api: Api, subscription: Uuid, group: &str, name: &str) -> Self {
        let (group, name) = (segment(group), segment(name));
        let path = format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices/workspaces/{name}"
        );
        Self { api, path, subscription }
    }

    /// The path of its computes, or of what is below one of them.
    pub(crate) fn computes(&self, below: &[&str]) -> String {
        let below = below.iter().fold(String::new(), |path, name| path + "/" + &segment(name));
        format!("{}/computes{below}?api-version={API_VERSION}", self.path)
    }

    /// Where it is.
    pub(crate) async fn location(&self) -> Result<String, ClientError> {
        let workspace = self.api.get(&format!("{}?api-version={API_VERSION}", self.path)).await?;
        Ok(workspace.get("location").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The path of a list that belongs to a location.
    pub(crate) fn in_location(&self, location: &str, list: &str) -> String {
        let (subscription, location) = (self.subscription, segment(location));
        format!(
            "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}/{list}\
             ?api-version={API_VERSION}"
        )
    }
}

/// A shape with everything a compute can have (`reference/arm-models.md`).
const API_VERSION: &str = "2024-10-01-preview";
