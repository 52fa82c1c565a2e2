//! Machine sizes: what a compute may ask for, in the names clients know.
//!
//! A size is a bound on what an instance may take of the host. Only sizes that the host can carry are offered.

use bastide_arm::resource_type::Demand;
use serde_json::{Value, json};

/// A machine size.
#[derive(Debug, PartialEq)]
pub struct VmSize {
    /// Name, `Standard_DS3_v2`.
    pub name: &'static str,
    /// Its family.
    pub family: &'static Family,
    /// Processor cores.
    pub cores: u64,
    /// Memory in MiB.
    pub memory: u64,
    /// Graphics processors.
    pub gpus: u64,
}

/// A family of machine sizes, which quotas are given for.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Name of the family on a size, `standardDSv2Family`.
    pub name: &'static str,
    /// How it is called in quotas, `Standard DSv2`.
    pub label: &'static str,
    /// Whether its machines have graphics processors.
    pub has_gpus: bool,
}

impl VmSize {
    /// Every size, small ones first in each family.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        SIZES.iter()
    }

    /// The size of that name, in any case: the SDK's default comes in capitals.
    pub fn find(name: &str) -> Option<&'static Self> {
        SIZES.iter().find(|size| size.name.eq_ignore_ascii_case(name.trim()))
    }

    /// What so many machines of this size take.
    pub fn demand(&self, machines: u64) -> Demand {
        let (cores, memory) = (self.cores.saturating_mul(machines), self.memory.saturating_mul(machines));
        Demand { family: self.family.name, machines, cores, memory }
    }

    /// As `vmSizes` lists it.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name,
            "family": self.family.name,
            "vCPUs": self.cores,
            "gpus": self.gpus,
            // Bastide gives an instance a directory of the host, not a disk of a size of its own.
            "osVhdSizeMB": 0,
            "maxResourceVolumeMB": 0,
            "memoryGB": gibibytes(self.memory),
            "lowPriorityCapable": false,
            "premiumIO": false,
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        })
    }
}

impl Family {
    /// Every family.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        [&B, &DSV2, &DSV3, &DSV5, &ESV3, &FSV2, &NCSV3, &NCAS_T4_V3].into_iter()
    }
}

/// Sizes have quarters of a GiB at the least, which a double holds exactly.
fn gibibytes(mebibytes: u64) -> Value {
    match mebibytes % 1024 {
        0 => json!(mebibytes / 1024),
        _ => json!(f64::from(u32::try_from(mebibytes).unwrap_or(u32::MAX)) / 1024.0),
    }
}

const fn family(name: &'static str, label: &'static str, has_gpus: bool) -> Family {
    Family { name, label, has_gpus }
}

const fn size(name: &'static str, family: &'static Family, cores: u64, memory: u64, gpus: u64) -> VmSize {
    VmSize { name, family, cores, memory, gpus }
}

static B: Family = family("standardBSFamily", "Standard BS", false);
static DSV2: Family = family("standardDSv2Family", "Standard DSv2", false);
static DSV3: Family = family("standardDSv3Family", "Standard DSv3", false);
static DSV5: Family = family("standardDSv5Family", "Standard DSv5", false);
static ESV3: Family = family("standardESv3Family", "Standard ESv3", false);
static FSV2: Family = family("standardFSv2Family", "Standard FSv2", false);
static NCSV3: Family = family("standardNCSv3Family", "Standard NCSv3", true);
static NCAS_T4_V3: Family = family("standardNCASv3_T4Family", "Standard NCASv3_T4", true);

const GIB: u64 = 1024;

/// Sizes that documents and tutorials name, with the cores and the memory they have in the cloud.
static SIZES: [VmSize; 34] = [
    size("Standard_B1s", &B, 1, GIB, 0),
    size("Standard_B1ms", &B, 1, 2 * GIB, 0),
    size("Standard_B2s", &B, 2, 4 * GIB, 0),
    size("Standard_B2ms", &B, 2, 8 * GIB, 0),
    size("Standard_B4ms", &B, 4, 16 * GIB, 0),
    size("Standard_DS1_v2", &DSV2, 1, 3584, 0),
    size("Standard_DS2_v2", &DSV2, 2, 7 * GIB, 0),
    size("Standard_DS3_v2", &DSV2, 4, 14 * GIB, 0),
    size("Standard_DS4_v2", &DSV2, 8, 28 * GIB, 0),
    size("Standard_DS5_v2", &DSV2, 16, 56 * GIB, 0),
    size("Standard_DS11_v2", &DSV2, 2, 14 * GIB, 0),
    size("Standard_DS12_v2", &DSV2, 4, 28 * GIB, 0),
    size("Standard_D2s_v3", &DSV3, 2, 8 * GIB, 0),
    size("Standard_D4s_v3", &DSV3, 4, 16 * GIB, 0),
    size("Standard_D8s_v3", &DSV3, 8, 32 * GIB, 0),
    size("Standard_D16s_v3", &DSV3, 16, 64 * GIB, 0),
    size("Standard_D2s_v5", &DSV5, 2, 8 * GIB, 0),
    size("Standard_D4s_v5", &DSV5, 4, 16 * GIB, 0),
    size("Standard_D8s_v5", &DSV5, 8, 32 * GIB, 0),
    size("Standard_D16s_v5", &DSV5, 16, 64 * GIB, 0),
    size("Standard_E2s_v3", &ESV3, 2, 16 * GIB, 0),
    size("Standard_E4s_v3", &ESV3, 4, 32 * GIB, 0),
    size("Standard_E8s_v3", &ESV3, 8, 64 * GIB, 0),
    size("Standard_E16s_v3", &ESV3, 16, 128 * GIB, 0),
    size("Standard_F2s_v2", &FSV2, 2, 4 * GIB, 0),
    size("Standard_F4s_v2", &FSV2, 4, 8 * GIB, 0),
    size("Standard_F8s_v2", &FSV2, 8, 16 * GIB, 0),
    size("Standard_F16s_v2", &FSV2, 16, 32 * GIB, 0),
    size("Standard_NC6s_v3", &NCSV3, 6, 112 * GIB, 1),
    size("Standard_NC12s_v3", &NCSV3, 12, 224 * GIB, 2),
    size("Standard_NC24s_v3", &NCSV3, 24, 448 * GIB, 4),
    size("Standard_NC4as_T4_v3", &NCAS_T4_V3, 4, 28 * GIB, 1),
    size("Standard_NC8as_T4_v3", &NCAS_T4_V3, 8, 56 * GIB, 1),
    size("Standard_NC16as_T4_v3", &NCAS_T4_V3, 16, 110 * GIB, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_known_in_any_case() {
        let size = VmSize::find("STANDARD_DS3_V2").unwrap();
        assert_eq!((size.name, size.cores, size.memory), ("Standard_DS3_v2", 4, 14 * GIB));
        assert_eq!(VmSize::find("Standard_X1"), None);
        let demand = size.demand(3);
        assert_eq!((demand.family, demand.machines, demand.cores, demand.memory), ("standardDSv2Family", 3, 12, 43008));
    }

    #[test]
    fn every_size_belongs_to_a_listed_family_and_has_a_name_of_its_own() {
        let mut names: Vec<&str> = VmSize::all().map(|size| size.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SIZES.len());
        for size in VmSize::all() {
            assert!(Family::all().any(|family| family == size.family), "{}", size.name);
            assert_eq!(size.family.has_gpus, size.gpus > 0, "{}", size.name);
        }
    }

    #[test]
    fn memory_is_told_in_gibibytes() {
        assert_eq!(VmSize::find("Standard_DS1_v2").unwrap().to_value()["memoryGB"], json!(3.5));
        assert_eq!(VmSize::find("Standard_DS3_v2").unwrap().to_value()["memoryGB"], json!(14));
    }
}
