//! How much of the host computes may take, by subscription and location and by hub (mission.md U2).
//!
//! The limits come from the host: a core stands for several of quota, because most computes wait for a person most of the
//! time. They can be lowered, for a whole location or for one hub, and never raised above what the host can carry.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Demand;
use serde_json::{Value, json};

use crate::vm_size::{Family, VmSize};

/// What the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Processor cores.
    pub cores: u64,
    /// Memory in MiB.
    pub memory: u64,
    /// Graphics processors.
    pub gpus: u64,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Machines: instances, and nodes of clusters.
    Machines,
    /// Processor cores of all families.
    Cores,
    /// Memory in MiB.
    Memory,
    /// Processor cores of one family.
    FamilyCores(&'static Family),
}

/// A quota with its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// What it counts.
    pub measure: Measure,
    /// How much there may be.
    pub limit: u64,
    /// How much there is.
    pub used: u64,
}

impl Capacity {
    /// The most a quota can be on this host.
    pub fn ceiling(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Machines => MACHINES,
            Measure::FamilyCores(family) if family.has_gpus && self.gpus == 0 => 0,
            Measure::Cores | Measure::FamilyCores(_) => self.cores.saturating_mul(CORES_FOR_A_CORE),
            Measure::Memory => self.memory.saturating_mul(MEMORY_FOR_A_MEBIBYTE),
        }
    }

    /// The sizes that the host can carry.
    pub fn sizes(&self) -> impl Iterator<Item = &'static VmSize> {
        let carries = move |size: &&VmSize| {
            let demand = size.demand(1);
            size.gpus <= self.gpus && Measure::all().all(|measure| measure.of(&demand) <= self.ceiling(measure))
        };
        VmSize::all().filter(carries)
    }
}

impl Measure {
    /// Every measure.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Machines, Self::Cores, Self::Memory].into_iter().chain(Family::all().map(Self::FamilyCores))
    }

    /// The measure of that word, in any case.
    pub fn find(word: &str) -> Option<Self> {
        Self::all().find(|measure| measure.word().eq_ignore_ascii_case(word))
    }

    /// Last word of the ids of its quotas.
    pub fn word(self) -> String {
        self.label().replace(' ', "_")
    }

    /// How people call it.
    pub fn label(self) -> String {
        match self {
            Self::Machines => "Total Cluster Dedicated Regional Machines".to_owned(),
            Self::Cores => "Total Cluster Dedicated Regional vCPUs".to_owned(),
            Self::Memory => "Total Cluster Dedicated Regional Memory MiB".to_owned(),
            Self::FamilyCores(family) => format!("{} Family Cluster Dedicated vCPUs", family.label),
        }
    }

    /// What a demand takes of it.
    pub fn of(self, demand: &Demand) -> u64 {
        match self {
            Self::Machines => demand.machines,
            Self::Cores => demand.cores,
            Self::Memory => demand.memory,
            Self::FamilyCores(family) if family.name == demand.family => demand.cores,
            Self::FamilyCores(_) => 0,
        }
    }

    /// Middle word of the types of its quotas and usages.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Machines => "totalMachines",
            Self::Cores => "totalCores",
            Self::Memory => "totalMemory",
            Self::FamilyCores(_) => "vmFamily",
        }
    }

    /// `name` of a quota or usage.
    pub fn name(self) -> Value {
        json!({"value": self.label(), "localizedValue": self.label()})
    }
}

impl Quota {
    /// Refuses a demand that goes over the limit; `place` is whose quota it is. What a resource has already does not count
    /// against it, and one that asks for less is never refused.
    pub fn admit(&self, place: &str, before: Option<&Demand>, demand: &Demand) -> Result<(), ArmError> {
        let had = before.map_or(0, |before| self.measure.of(before));
        let asked = self.measure.of(demand);
        let others = self.used.saturating_sub(had);
        if asked <= had || others.saturating_add(asked) <= self.limit {
            return Ok(());
        }
        let message = format!(
            "This needs {asked} of the quota '{}' of {place}, whose limit is {}; {others} are in use. Delete computes or \
             make them smaller, choose a smaller size, or have the quota changed (POST updateQuotas).",
            self.measure.label(),
            self.limit
        );
        Err(ArmError::new(409, "QuotaExceeded", message).with_target("properties.properties.vmSize"))
    }
}

/// More machines than this in one location are nobody's on one host.
const MACHINES: u64 = 500;

/// Cores of quota for a core of the host: computes of people are idle most of the time.
const CORES_FOR_A_CORE: u64 = 16;

/// A size's memory is a bound, not a reservation; most of it is never touched.
const MEMORY_FOR_A_MEBIBYTE: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Capacity = Capacity { cores: 2, memory: 24 * 1024, gpus: 0 };

    fn demand(size: &str, machines: u64) -> Demand {
        VmSize::find(size).unwrap().demand(machines)
    }

    #[test]
    fn a_refusal_names_quota_limit_and_use() {
        let quota = Quota { measure: Measure::Cores, limit: 10, used: 8 };
        assert!(quota.admit("hub 'one'", None, &demand("Standard_DS2_v2", 1)).is_ok());
        let error = quota.admit("hub 'one'", None, &demand("Standard_DS3_v2", 1)).unwrap_err();
        assert_eq!((error.status, error.code.as_ref()), (409, "QuotaExceeded"));
        for part in ["Total Cluster Dedicated Regional vCPUs", "hub 'one'", "limit is 10", "needs 4", "8 are in use"] {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
    }

    #[test]
    fn what_a_resource_has_does_not_count_against_it() {
        let quota = Quota { measure: Measure::Cores, limit: 10, used: 8 };
        let (small, large) = (demand("Standard_DS3_v2", 1), demand("Standard_DS4_v2", 1));
        assert!(quota.admit("l", Some(&large), &large).is_ok(), "as before");
        assert!(quota.admit("l", Some(&small), &demand("Standard_DS2_v2", 3)).is_ok(), "4 others and 6");
        assert!(quota.admit("l", Some(&small), &large).is_err(), "4 others and 8");
        let lowered = Quota { limit: 1, ..quota };
        assert!(lowered.admit("l", Some(&large), &small).is_ok(), "less than before is always right");
    }

    #[test]
    fn a_family_counts_only_its_own() {
        let family = |size: &str| Measure::FamilyCores(VmSize::find(size).unwrap().family);
        assert_eq!(family("Standard_DS3_v2").of(&demand("Standard_DS3_v2", 2)), 8);
        assert_eq!(family("Standard_D4s_v3").of(&demand("Standard_DS3_v2", 2)), 0);
        assert_eq!(Measure::find("standard_dsv2_family_cluster_dedicated_vcpus"), Some(family("Standard_DS1_v2")));
        assert_eq!(Measure::find("Standard_Q_Family_Cluster_Dedicated_vCPUs"), None);
    }

    #[test]
    fn only_sizes_that_the_host_can_carry_are_offered() {
        let names: Vec<&str> = HOST.sizes().map(|size| size.name).collect();
        assert!(names.contains(&"Standard_DS3_v2"), "the SDK's default");
        assert!(names.iter().all(|name| !name.starts_with("Standard_NC")), "no graphics processors: {names:?}");
        let tiny = Capacity { cores: 1, memory: 512, gpus: 0 };
        let names: Vec<&str> = tiny.sizes().map(|size| size.name).collect();
        assert!(names.contains(&"Standard_B2s") && !names.contains(&"Standard_B2ms"), "{names:?}");
    }
}
