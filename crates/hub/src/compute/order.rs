//! Computes become what a node must run.

use std::collections::BTreeMap;

use bastide_arm::resource_type::Linked;
use bastide_plan::compute_plan::{Instance, Run, Share, Size};
use bastide_plan::hub_plan::ComputeId;

use super::instance::{Extension, USER};
use super::script::Scripts;
use super::{AT, Desired, Kind, cluster, inner, instance, node_id};
use crate::quota::Capacity;
use crate::vm_size::VmSize;

/// What a node must run for a compute of a workspace: itself, or the nodes of a cluster. `hub` is the hub of a workspace
/// that is a project. The same in gives the same out; one that cannot be read gives nothing.
pub fn instances(compute: &Linked, workspace: &Linked, hub: Option<&Linked>, capacity: &Capacity) -> Vec<Instance> {
    let document = &compute.document;
    let (Some(kind), Some(desired), Some(inner)) = (Kind::of(document), Desired::of(document), inner(document)) else {
        return Vec::new();
    };
    let size = inner.get("vmSize").and_then(|name| VmSize::find(name.as_str()?));
    let (Some(size), Ok(extension)) = (size, Extension::read(inner)) else { return Vec::new() };
    let scripts = Scripts::read(inner, AT).unwrap_or_default();
    let instance = Instance {
        compute: ComputeId(compute.incarnation),
        name: compute.id.name().to_ascii_lowercase(),
        run: if desired.run { Run::Running } else { Run::Stopped },
        start: desired.start,
        image: extension.image,
        isolation: extension.isolation,
        size: share_of(size, capacity),
        user: USER.to_owned(),
        keys: match kind {
            Kind::Instance => instance::keys(inner),
            Kind::Cluster => cluster::keys(inner),
        },
        environment: BTreeMap::new(),
        files: Vec::new(),
        shares: shares(workspace, hub),
        creation_script: scripts.creation,
        startup_script: scripts.startup,
    };
    match kind {
        Kind::Instance => vec![instance],
        Kind::Cluster => (0..desired.nodes)
            .map(|number| Instance {
                compute: node_id(compute.incarnation, number),
                name: format!("{}-{number}", instance.name),
                ..instance.clone()
            })
            .collect(),
    }
}

/// What a machine of that size may take. A host that is smaller than the size gives what it has.
fn share_of(size: &VmSize, capacity: &Capacity) -> Size {
    let cores = size.cores.min(capacity.cores).max(1);
    let memory = if capacity.memory == 0 { size.memory } else { size.memory.min(capacity.memory) };
    Size {
        cpu_millis: u32::try_from(cores.saturating_mul(1000)).unwrap_or(u32::MAX),
        memory: memory.saturating_mul(MEBIBYTE),
        processes: u32::try_from(size.cores.saturating_mul(PROCESSES_FOR_A_CORE)).unwrap_or(u32::MAX),
        disk: DISK,
        gpus: u32::try_from(size.gpus).unwrap_or(u32::MAX),
    }
}

/// The folder of its own workspace, and for a project that of its hub, which only the hub writes to.
fn shares(workspace: &Linked, hub: Option<&Linked>) -> Vec<Share> {
    let own = Share { id: workspace.incarnation, path: format!("/home/{USER}/cloudfiles/code"), read_only: false };
    let shared =
        hub.map(|hub| Share { id: hub.incarnation, path: format!("/home/{USER}/cloudfiles/hub"), read_only: true });
    std::iter::once(own).chain(shared).collect()
}

const MEBIBYTE: u64 = 1024 * 1024;

const PROCESSES_FOR_A_CORE: u64 = 1024;

/// Bytes that an instance may write beside its image.
const DISK: u64 = 32 * 1024 * MEBIBYTE;
