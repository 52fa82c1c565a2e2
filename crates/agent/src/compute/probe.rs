//! Whether this node can run instances: runs a small one.

use std::error::Error;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bastide_plan::compute_plan::{Instance, Size};
use bastide_plan::hub_plan::ComputeId;
use uuid::Uuid;

use super::oci::Oci;
use super::record::Users;
use super::runtime::{Order, Runtime};

/// Runs an instance of nothing but its first process: with users, a disk, limits and a network of its own. What confines
/// it is read back, and nothing is left of it. Gives a sentence about what was seen.
///
/// The calling thread must be the only one, in a fresh network namespace; `directory` is for this alone.
pub fn probe(directory: &Path) -> Result<String, Box<dyn Error>> {
    let runtime = Oci::open(&directory.join("computes"))?;
    let root = directory.join("root");
    fs::create_dir_all(&root)?;
    let order = order(root)?;
    let compute = order.instance.compute;
    let ran = runtime.create(&order).and_then(|()| runtime.start(compute));
    let removed = runtime.delete(compute);
    ran.and(removed)?;
    Ok(format!("{}: an instance ran, was confined as ordered, and is gone", runtime.abilities().name))
}

fn order(root: PathBuf) -> Result<Order, Box<dyn Error>> {
    let id = Uuid::new_v4();
    let size = Size { cpu_millis: 100, memory: 64 << 20, processes: 16, disk: 64 << 20, gpus: 0 };
    Ok(Order {
        instance: Instance::plain(ComputeId(id), "doctor", size),
        namespace: PathBuf::from(format!("/proc/{}/ns/net", std::process::id())),
        resolver: Ipv4Addr::LOCALHOST,
        first_user: Users::free(id, |_| false).ok_or("no user numbers")?.first(),
        root,
        image_environment: Vec::new(),
        shares: Vec::new(),
    })
}
