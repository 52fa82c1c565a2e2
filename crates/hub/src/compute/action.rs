//! What can be asked of a compute by POST.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Acted, ActionCall, Document, Progress};
use serde_json::{Map, Value, json};

use super::cluster::{self, Scale};
use super::instance::{self, DATA_MOUNTS};
use super::{Desired, INNER, Kind, Operation, Trigger, custom_service, inner, sign_on, size, status};
use crate::field::{self, refused};
use crate::quota::Capacity;
use crate::vm_size::VmSize;

/// Answers an action.
pub(super) fn act(call: &ActionCall<'_>, capacity: &Capacity) -> Result<Acted, ArmError> {
    let document = call.existing.document;
    let (Some(kind), Some(desired)) = (Kind::of(document), Desired::of(document)) else {
        return Err(ArmError::conflict("This compute cannot be read. Delete it and create it anew."));
    };
    let compute = Addressed { call, kind, desired };
    match call.action {
        "start" => compute.start(),
        "stop" => compute.stop(),
        "restart" => compute.restart(),
        "resize" => compute.resize(capacity),
        "scale" => compute.scale(),
        "listNodes" => compute.nodes(),
        "updateIdleShutdownSetting" => compute.set_idle_time(),
        "getAllowedVmSizesForResize" => {
            compute.must_be(Kind::Instance)?;
            let sizes: Vec<Value> = capacity.sizes().map(VmSize::to_value).collect();
            Ok(answered(json!({"value": sizes})))
        }
        "customServices" => compute.set_custom_services(),
        "updateDataMounts" => compute.set_data_mounts(),
        "enableSso" => compute.set_sso(),
        // The only keys there are stay with the public ones: nothing secret is behind a compute.
        _ => Ok(answered(json!({"computeType": kind.as_str()}))),
    }
}

struct Addressed<'a> {
    call: &'a ActionCall<'a>,
    kind: Kind,
    desired: Desired,
}

impl Addressed<'_> {
    fn start(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        let progress =
            status::of(self.kind, self.call.existing.incarnation, &self.desired, self.call.observed).progress();
        // One that runs, or is about to, needs no other start; one that has failed is tried again.
        if self.desired.run && !matches!(progress, Progress::Failed(_)) {
            return Ok(Acted { accepted: true, ..Acted::default() });
        }
        // Schedules ask like everybody, and say that it was them.
        let by_schedule = self.call.body.get("operationTrigger").and_then(Value::as_str) == Some("Schedule");
        let trigger = if by_schedule { Trigger::Schedule } else { Trigger::User };
        Ok(self.asked(self.desired.started(Operation::Start, trigger, self.call.now)))
    }

    fn stop(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        if !self.desired.run {
            return Ok(Acted { accepted: true, ..Acted::default() });
        }
        Ok(self.asked(self.desired.stopped(Trigger::User, self.call.now)))
    }

    fn restart(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        Ok(self.asked(self.desired.started(Operation::Restart, Trigger::User, self.call.now)))
    }

    fn resize(&self, capacity: &Capacity) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        let target = field::text(self.body()?, "targetVMSize", "body")?
            .ok_or_else(|| ArmError::invalid_parameter("targetVMSize", "resize needs a targetVMSize."))?;
        let mut inner = self.inner();
        let wanted = Map::from_iter([("vmSize".to_owned(), target.into())]);
        let wanted_size = size(&wanted, capacity).map_err(|error| error.with_target("targetVMSize"))?;
        let has = inner.get("vmSize").and_then(|name| VmSize::find(name.as_str()?));
        if has == Some(wanted_size) {
            return Ok(Acted { accepted: true, ..Acted::default() });
        }
        inner.insert("vmSize".into(), target.into());
        // One that is stopped has its new size when it starts.
        let desired = match self.desired.run {
            true => self.desired.started(Operation::Resize, Trigger::User, self.call.now),
            false => Desired {
                operation: Operation::Resize,
                trigger: Trigger::User,
                at: self.call.now,
                ..self.desired.clone()
            },
        };
        Ok(Acted { accepted: true, document: Some(self.changed(inner, &desired)), ..Acted::default() })
    }

    /// Bastide's own: nothing hands out jobs, so people say how many nodes they need.
    fn scale(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Cluster)?;
        let scale = Scale::read(&self.inner())?;
        let count = self.body()?.get("nodeCount").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|count| (scale.least..=scale.most).contains(count)).ok_or_else(|| {
            let message = format!("scale needs a nodeCount from {} to {}.", scale.least, scale.most);
            ArmError::invalid_parameter("nodeCount", message)
        })?;
        Ok(self.asked(self.desired.scaled(count, Trigger::User, self.call.now)))
    }

    fn nodes(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Cluster)?;
        let status = status::of(self.kind, self.call.existing.incarnation, &self.desired, self.call.observed);
        let name = self.call.id.name();
        let nodes: Vec<Value> =
            status.nodes.iter().enumerate().map(|(number, node)| cluster::node(number, name, node)).collect();
        Ok(answered(json!({"nodes": nodes})))
    }

    fn set_idle_time(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        let mut inner = self.inner();
        match field::text(self.body()?, IDLE_TIME, "body")? {
            Some(text) => drop(inner.insert(IDLE_TIME.into(), text.into())),
            None => drop(inner.remove(IDLE_TIME)),
        }
        instance::idle_time(&inner).map_err(|error| error.with_target(IDLE_TIME))?;
        Ok(Acted { document: Some(self.changed(inner, &self.desired)), ..Acted::default() })
    }

    fn set_sso(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        let flag = field::flag(self.body()?, sign_on::NAME, "body")?
            .ok_or_else(|| ArmError::invalid_parameter(sign_on::NAME, "enableSso needs enableSSO, true or false."))?;
        sign_on::may_switch(self.call.existing.document, self.call.author.object_id, flag)?;
        let mut inner = self.inner();
        inner.insert(sign_on::NAME.into(), flag.into());
        Ok(Acted { document: Some(self.changed(inner, &self.desired)), ..Acted::default() })
    }

    fn set_custom_services(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        let mut inner = self.inner();
        inner.insert("customServices".into(), Value::Array(self.list("customServices")?.clone()));
        // What is kept says itself that it does not run.
        custom_service::check(&inner, &mut Vec::new())?;
        Ok(Acted { document: Some(self.changed(inner, &self.desired)), ..Acted::default() })
    }

    /// Nothing serves datastores yet, so what is mounted says that it failed and why.
    fn set_data_mounts(&self) -> Result<Acted, ArmError> {
        self.must_be(Kind::Instance)?;
        let mut inner = self.inner();
        let mut mounts: Vec<Value> = inner.get(DATA_MOUNTS).and_then(Value::as_array).cloned().unwrap_or_default();
        for asked in self.list("dataMounts")? {
            let fields = asked.as_object().ok_or_else(|| refused("dataMounts", "A data mount must be an object."))?;
            let name = field::text(fields, "mountName", "dataMounts")?
                .ok_or_else(|| refused("dataMounts.mountName", "A data mount needs a mountName."))?;
            mounts.retain(|mount| mount.get("mountName").and_then(Value::as_str) != Some(name));
            if field::choice(fields, "mountAction", "dataMounts", &["Mount", "Unmount"])? == Some("Unmount") {
                continue;
            }
            let mut mount = fields.clone();
            mount.insert("mountState".into(), "MountFailed".into());
            mount.insert("error".into(), "Bastide has no data plane for datastores and datasets yet.".into());
            mounts.push(Value::Object(mount));
        }
        inner.insert(DATA_MOUNTS.into(), Value::Array(mounts));
        Ok(Acted { document: Some(self.changed(inner, &self.desired)), ..Acted::default() })
    }

    fn must_be(&self, kind: Kind) -> Result<(), ArmError> {
        if self.kind == kind {
            return Ok(());
        }
        let message = format!(
            "{} is for a compute of type {}; this one is of type {}.",
            self.call.action,
            kind.as_str(),
            self.kind.as_str()
        );
        Err(ArmError::new(400, "ComputeTypeNotSupported", message))
    }

    fn asked(&self, desired: Desired) -> Acted {
        Acted { accepted: true, document: Some(self.changed(self.inner(), &desired)), ..Acted::default() }
    }

    fn changed(&self, inner: Map<String, Value>, desired: &Desired) -> Document {
        let mut document = self.call.existing.document.clone();
        document.properties.insert(INNER.into(), Value::Object(inner));
        desired.store(&mut document.properties);
        document
    }

    fn inner(&self) -> Map<String, Value> {
        inner(self.call.existing.document).cloned().unwrap_or_default()
    }

    fn body(&self) -> Result<&Map<String, Value>, ArmError> {
        self.call.body.as_object().ok_or_else(|| ArmError::invalid_request_content("The body must be a JSON object."))
    }

    /// A list that is the body, or in it under a name.
    fn list(&self, name: &str) -> Result<&Vec<Value>, ArmError> {
        let list = self.call.body.as_array().or_else(|| self.call.body.get(name)?.as_array());
        list.ok_or_else(|| ArmError::invalid_request_content(format!("The body must be a list of {name}.")))
    }
}

fn answered(answer: Value) -> Acted {
    Acted { answer: Some(answer), ..Acted::default() }
}

const IDLE_TIME: &str = "idleTimeBeforeShutdown";
