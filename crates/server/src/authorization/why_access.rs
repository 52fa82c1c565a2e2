//! `GET {scope}/bastide/whyAccess?principal=&action=`: why somebody may or may not do something here.

use bastide_access::{Attributes, Request as Question};
use bastide_arm::error::ArmError;
use bastide_identity::DirectoryObject;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::pass::Pass;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// Which assignment, through which group, minus which notAction, condition or deny; and who could change it.
    pub(crate) async fn why_access(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let subject = match request.context.query_value("principal").filter(|text| !text.is_empty()) {
            Some(text) => self.somebody(request, pass, &text).await?,
            None => pass.principal().object_id,
        };
        // A pattern, or a word without a provider, would be answered for something else than what was meant.
        let is_action = |text: &String| text.contains('/') && !text.contains('*');
        let Some(action) = request.context.query_value("action").filter(is_action) else {
            let message =
                "Name what is to be done in the query: ?action=Microsoft.MachineLearningServices/workspaces/read.";
            return Err(ArmError::invalid_parameter("action", message).into());
        };
        let data = request.context.query_value("data").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        self.may_ask_about(request, pass, subject).await?;
        let scope = &request.matched.target;
        let principal = self.principal_of(subject).await?;
        let rights = self.gatekeeper.rights(pass).await?;
        let explanation = rights.access().explain(&Question {
            principal: subject,
            groups: principal.as_ref().map(|principal| principal.groups.as_slice()).unwrap_or_default(),
            action: &action,
            data,
            scope: scope.key(),
            attributes: &Attributes::NONE,
        });
        let grantors = rights.access().grantors(scope.key());
        let mut body = json!(explanation);
        if let Some(steps) = body.get_mut("assignments").and_then(Value::as_array_mut) {
            for step in steps {
                self.name_group(step).await?;
            }
        }
        if let Some(fields) = body.as_object_mut() {
            if let Some(hindrance) = self.hindrance(subject).await? {
                fields.insert("allowed".to_owned(), false.into());
                fields.insert("summary".to_owned(), hindrance.into());
            }
            fields.insert("action".to_owned(), action.into());
            fields.insert("isDataAction".to_owned(), data.into());
            fields.insert("scope".to_owned(), scope.to_string().into());
            fields.insert("principal".to_owned(), self.person(subject).await?);
            let mut people = Vec::new();
            for grantor in grantors.into_iter().take(MAX_GRANTORS) {
                if self.hindrance(grantor).await?.is_none() {
                    people.push(self.person(grantor).await?);
                }
            }
            fields.insert("grantors".to_owned(), people.into());
        }
        Ok(Reply::ok(body))
    }

    /// Somebody by object id or by name. Names of others are told to those only who may ask about others.
    async fn somebody(&self, request: &Request<'_>, pass: &Pass, text: &str) -> Result<Uuid, Failure> {
        if let Ok(object_id) = super::guid(text, "principal") {
            return Ok(object_id);
        }
        let caller = pass.principal();
        if caller.name.eq_ignore_ascii_case(text) {
            return Ok(caller.object_id);
        }
        self.may_ask_about(request, pass, Uuid::nil()).await?;
        let directory = self.identity.directory();
        if let Some(user) = directory.user_by_name(text).await? {
            return Ok(user.object_id);
        }
        if let Some(application) = directory.service_principal_by_name(text).await? {
            return Ok(application.object_id);
        }
        let message = format!(
            "Nobody in the directory is called '{}'. Give an object id, a user name or the name of an application.",
            text.chars().filter(|letter| !letter.is_control()).take(100).collect::<String>()
        );
        Err(ArmError::new(400, "PrincipalNotFound", message).with_target("principal").into())
    }

    pub(super) async fn person(&self, object_id: Uuid) -> Result<Value, Failure> {
        Ok(person(object_id, self.directory_object(object_id).await?.as_ref()))
    }

    async fn name_group(&self, step: &mut Value) -> Result<(), Failure> {
        let group = step.get("group").and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok());
        if let (Some(group), Some(fields)) = (group, step.as_object_mut()) {
            let object = self.directory_object(group).await?;
            fields.insert("groupName".to_owned(), json!(object.as_ref().map(DirectoryObject::name)));
        }
        Ok(())
    }
}

/// People named as those who could grant access.
const MAX_GRANTORS: usize = 20;

/// A principal as people know it.
pub(super) fn person(object_id: Uuid, object: Option<&DirectoryObject>) -> Value {
    json!({
        "objectId": object_id,
        "name": object.map(DirectoryObject::name),
        "type": object.map_or("Unknown", |object| object.kind().as_principal_type()),
    })
}
