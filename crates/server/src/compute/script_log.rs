//! `GET {compute}/bastide/scriptLog?script=creation|startup`: what a setup script has printed.

use bastide_arm::error::ArmError;
use bastide_hub::compute::user::{self, Use};
use bastide_plan::compute_report::ScriptLog;
use bastide_plan::hub_plan::ComputeId;
use http::header;
use serde_json::json;

use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// The end of what a setup script has printed. It may be anything, so it is for whoever the instance is for.
    pub(crate) async fn read_script_log(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let id = &request.matched.target;
        let entry = self.ledger.resource(pass, id).await?.ok_or_else(|| ArmError::resource_not_found(id))?;
        user::admit(&entry.document, pass.principal().object_id, Use::Shell)?;
        let asked = request.context.query_value("script").unwrap_or_default();
        let script = match asked.to_ascii_lowercase().as_str() {
            "creation" => ScriptLog::Creation,
            "startup" => ScriptLog::Startup,
            _ => {
                let message = format!("'{asked}' is no setup script. Say ?script=creation or ?script=startup.");
                return Err(ArmError::invalid_parameter("script", message).into());
            }
        };
        match self.networks.script_log(ComputeId(entry.row.incarnation), script).await {
            Ok(text) => {
                Ok(Reply::ok(json!({"script": script, "text": text})).header(header::CACHE_CONTROL, "no-store"))
            }
            Err(away) => Err(ArmError::new(409, "NoScriptLog", away.to_string()).into()),
        }
    }
}
