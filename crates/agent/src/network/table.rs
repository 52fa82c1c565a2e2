//! A table of nftables in the kernel: put there in one transaction, read back, and watched.

use std::io;

use thiserror::Error;

use super::netlink::Netfilter;
use super::ruleset::Ruleset;
use crate::tool::{self, ToolError};

/// A table in the network namespace of the thread that opened it; used by threads of that namespace only.
#[derive(Debug)]
pub struct Table {
    netfilter: Netfilter,
    held: Option<Held>,
}

/// What the kernel was seen to hold.
#[derive(Debug)]
struct Held {
    ruleset: Ruleset,
    /// As `nft` lists it, without what the kernel itself fills in; none until there was time to ask.
    listing: Option<String>,
    generation: u32,
}

/// What making the kernel match took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it did already.
    None,
    /// It held an older rule set of ours, or none.
    Applied,
    /// Somebody else had changed it.
    Repaired,
}

/// Why a table could not be made to match.
#[derive(Debug, Error)]
pub enum TableError {
    /// nft did not take it.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The kernel could not be asked.
    #[error("cannot ask the kernel for its rule sets: {0}")]
    Netlink(#[from] io::Error),
    /// Whenever it was read back, somebody else had changed it.
    #[error("somebody keeps changing the rule sets of this network namespace: find out who, and stop it")]
    Contended,
}

impl Table {
    /// For the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netfilter: Netfilter::open()?, held: None })
    }

    /// The namespace's netfilter.
    pub fn netfilter(&self) -> &Netfilter {
        &self.netfilter
    }

    /// Makes the kernel hold a rule set, and has read it back when it returns.
    pub fn hold(&mut self, ruleset: &Ruleset) -> Result<Change, TableError> {
        let is_as_left = self.is_as_left(ruleset.table())?;
        if is_as_left && self.held.as_ref().is_some_and(|held| held.ruleset == *ruleset) {
            return Ok(Change::None);
        }
        let change = if is_as_left || self.held.is_none() { Change::Applied } else { Change::Repaired };
        for _ in 0..ATTEMPTS {
            let transaction = match &self.held {
                Some(held) if is_as_left => ruleset.transaction_from(&held.ruleset),
                _ => ruleset.transaction(),
            };
            self.held = None;
            let before = self.netfilter.generation()?;
            let given = tool::run("nft", &["-f", "-"], &transaction);
            let generation = self.netfilter.generation()?;
            match given {
                Err(error) if generation == before => return Err(error.into()),
                // What fails while somebody else changes something may have failed for that.
                Err(_) => continue,
                Ok(_) => {}
            }
            // The kernel takes a transaction whole or not at all, and it is one step further than before: what it holds
            // is what we gave, and nobody else has changed anything.
            if generation == before.wrapping_add(1) {
                self.held = Some(Held { ruleset: ruleset.clone(), listing: None, generation });
                return Ok(change);
            }
        }
        Err(TableError::Contended)
    }

    /// Lists the table while it is as we left it, to tell later whether somebody else's change was to it. For quiet times:
    /// 20,000 prefixes take a tenth of a second.
    pub fn memorise(&mut self) -> Result<(), TableError> {
        let Some(held) = self.held.as_mut().filter(|held| held.listing.is_none()) else { return Ok(()) };
        let listing = list(held.ruleset.table())?;
        if self.netfilter.generation()? == held.generation {
            held.listing = Some(listing);
        }
        Ok(())
    }

    /// Takes the table away.
    pub fn remove(&mut self, table: &str) -> Result<(), TableError> {
        self.held = None;
        Ok(tool::run("nft", &["-f", "-"], &format!("add table {table}\ndelete table {table}\n")).map(|_| ())?)
    }

    /// Whether the kernel holds what we last saw there.
    fn is_as_left(&mut self, table: &str) -> Result<bool, TableError> {
        let generation = self.netfilter.generation()?;
        let Some(held) = &mut self.held else { return Ok(false) };
        if held.generation == generation {
            return Ok(true);
        }
        // Something changed, perhaps in another table. A table that is not there cannot be listed.
        let is_same = held.listing.is_some() && list(table).ok() == held.listing;
        if is_same {
            held.generation = generation;
        }
        Ok(is_same)
    }
}

/// The table as `nft` prints it, less the sets that the kernel fills from the traffic it sees.
fn list(table: &str) -> Result<String, ToolError> {
    let mut arguments = vec!["-s", "list", "table"];
    arguments.extend(table.split(' '));
    let mut is_filled = false;
    let mut listing = String::new();
    for line in tool::run("nft", &arguments, "")?.lines() {
        match line {
            "\tset connections {" | "\tset logged {" => is_filled = true,
            "\t}" => is_filled = false,
            _ => {}
        }
        if !(is_filled && line.starts_with(ELEMENTS)) {
            listing.push_str(line);
            listing.push('\n');
        }
    }
    Ok(listing)
}

/// How lines of elements begin: the first, or one that goes on.
const ELEMENTS: &str = "\t\t";

/// Each takes some milliseconds; whoever gets in between five times does so on purpose.
const ATTEMPTS: usize = 5;
