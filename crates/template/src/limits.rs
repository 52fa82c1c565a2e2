//! Bounds that turn a hostile or runaway template into a clear error in bounded time and memory.

use crate::error::Trouble;

/// What one template may use. The defaults are Azure's published limits where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of JSON containers in a document and in a computed value.
    pub json_depth: u32,
    /// Length of one expression in bytes (Azure: 24,576 characters; compiled Bicep modules go beyond).
    pub expression_bytes: usize,
    /// Nesting of calls and accesses in one expression.
    pub expression_depth: u32,
    /// Nesting of evaluations across variables, parameters, user functions and lambdas.
    pub evaluation_depth: u32,
    /// Work units one planning or one body may use; a unit is about one function call.
    pub steps: u64,
    /// Bytes all values made in one planning or one body may take together.
    pub total_bytes: u64,
    /// Bytes one value would take as JSON (a request to ARM is at most 4 MiB).
    pub value_bytes: u64,
    /// Resources of one template after its loops are unrolled (Azure: 800).
    pub resources: usize,
    /// Resources of a deployment together with everything nested in it.
    pub total_resources: usize,
    /// Iterations of one copy loop (Azure: 800).
    pub iterations: u32,
    /// How deep deployments may nest.
    pub nested_deployments: u32,
    /// Parameters, variables and outputs of one template each (Azure: 256, 512 and 64).
    pub members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            json_depth: 100,
            expression_bytes: 128 * 1024,
            expression_depth: 100,
            evaluation_depth: 200,
            steps: 1_000_000,
            total_bytes: 64 * 1024 * 1024,
            value_bytes: 4 * 1024 * 1024,
            resources: 800,
            total_resources: 4000,
            iterations: 800,
            nested_deployments: 16,
            members: 4096,
        }
    }
}

/// What is left of the limits while one planning or one body is computed.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: u64,
    bytes: u64,
    pub(crate) limits: Limits,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { steps: limits.steps, bytes: limits.total_bytes, limits }
    }

    /// Pays for work before it is done.
    pub(crate) fn steps(&mut self, units: u64) -> Result<(), Trouble> {
        match self.steps.checked_sub(units) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(format!(
                "The template needs more than {} evaluation steps. Make its loops or expressions smaller, or split it.",
                self.limits.steps
            )
            .into()),
        }
    }

    /// Pays for memory that a value takes.
    pub(crate) fn bytes(&mut self, bytes: u64) -> Result<(), Trouble> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(format!(
                "The values of the template take more than {} bytes. Make its loops or expressions smaller, or split it.",
                self.limits.total_bytes
            )
            .into()),
        }
    }
}
