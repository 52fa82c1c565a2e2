//! What this host has to give to computes, read once at the start.

use std::fs;

use bastide_hub::quota::Capacity;

/// Reads cores and memory, both as far as the control group of this process lets them be used.
pub(crate) fn of_host() -> Capacity {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let installed = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let bound = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let memory = [installed, bound.map(|bytes| bytes / MEBIBYTE)].into_iter().flatten().min();
    // Nothing is said about graphics processors until something can hand one to a compute.
    Capacity { cores, memory: memory.unwrap_or(0), gpus: 0 }
}

/// `MemTotal` of `/proc/meminfo` (in KiB, see proc(5)), in MiB.
fn total_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes / 1024)
}

const MEBIBYTE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_something_to_give() {
        let capacity = of_host();
        assert!(capacity.cores > 0 && capacity.memory > 64, "{capacity:?}");
        assert_eq!(total_memory("MemFree: 1 kB\nMemTotal:       24576000 kB\n"), Some(24000));
        assert_eq!(total_memory("nothing"), None);
    }
}
