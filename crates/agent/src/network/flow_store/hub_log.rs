//! The log of one hub.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bastide_plan::flow::{FlowQuery, FlowRecord, Place};

use super::segment::Segment;
use super::{Retention, millis, private};

/// Segments, the last of which is written to.
#[derive(Debug)]
pub struct HubLog {
    directory: PathBuf,
    segments: Vec<Segment>,
    file: Option<File>,
}

/// What a log held at one moment.
#[derive(Debug)]
pub struct View(Vec<Segment>);

impl HubLog {
    /// Opens a log; an empty one when there is none.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::recursive(&mut private(), true).create(directory)?;
        let mut paths: Vec<_> = std::fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        let mut segments = Vec::new();
        for path in paths {
            segments.extend(Segment::open(path)?);
        }
        let file = segments.last().map(Segment::resume).transpose()?;
        Ok(Self { directory: directory.to_owned(), segments, file })
    }

    /// Appends records, oldest first.
    pub fn append(&mut self, records: &[FlowRecord]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if self.segments.last().is_none_or(|segment| segment.bytes >= SEGMENT) {
            let next = self.segments.last().map_or(0, Segment::end);
            let (segment, file) = Segment::create(&self.directory, next)?;
            self.segments.push(segment);
            self.file = Some(file);
        }
        match (self.segments.last_mut(), &mut self.file) {
            (Some(segment), Some(file)) => segment.append(file, records),
            _ => Ok(()),
        }
    }

    /// Takes away what is too old, and the oldest of what is too much. The segment that is written to stays, so that places
    /// go on from where they are.
    pub fn trim(&mut self, retention: Retention, now: i64) -> io::Result<()> {
        let oldest = now.saturating_sub(millis(retention.age));
        let mut total: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        while let [first, _, ..] = self.segments.as_slice() {
            let is_old = first.span.is_some_and(|(_, last)| last < oldest);
            if !is_old && total <= retention.bytes {
                break;
            }
            total -= first.bytes;
            first.remove()?;
            self.segments.remove(0);
        }
        Ok(())
    }

    /// What it holds now.
    pub fn view(&self) -> View {
        View(self.segments.clone())
    }
}

impl View {
    /// The place of the next record.
    pub fn next(&self) -> Place {
        self.0.last().map_or(0, Segment::end)
    }

    /// The oldest wanted records from a place on, and the place to go on from.
    pub fn forward(&self, query: &FlowQuery, after: Place, limit: usize) -> (Vec<FlowRecord>, Place) {
        let mut found = Vec::new();
        for segment in self.0.iter().filter(|segment| segment.end() > after && may_hold(segment, query)) {
            for (place, record) in read(segment) {
                if place < after || !query.wants(&record) {
                    continue;
                }
                if found.len() == limit {
                    return (found, place);
                }
                found.push(record);
            }
        }
        (found, self.next().max(after))
    }

    /// The latest wanted records, oldest first, and where to go on for older ones. None began before `oldest`.
    pub fn backward(&self, query: &FlowQuery, limit: usize, oldest: i64) -> (Vec<FlowRecord>, Option<Place>) {
        let before = query.before.unwrap_or(Place::MAX);
        let (mut portions, mut missing, mut older) = (Vec::new(), limit, None);
        for segment in self.0.iter().rev().filter(|segment| segment.first < before && may_hold(segment, query)) {
            if missing == 0 {
                older = Some(segment.end().min(before));
                break;
            }
            let wanted =
                read(segment).filter(|(place, record)| *place < before && record.at >= oldest && query.wants(record));
            let mut wanted: Vec<_> = wanted.collect();
            let surplus = wanted.len().saturating_sub(missing);
            let rest = wanted.split_off(surplus);
            missing -= rest.len();
            if let (Some((place, _)), false) = (rest.first(), wanted.is_empty()) {
                older = Some(*place);
            }
            portions.push(rest);
            if older.is_some() {
                break;
            }
        }
        let records = portions.into_iter().rev().flatten().map(|(_, record)| record).collect();
        (records, older)
    }
}

/// Nothing when it was trimmed away since: it is too old by now.
fn read(segment: &Segment) -> impl Iterator<Item = (Place, FlowRecord)> {
    segment.records().into_iter().flatten()
}

/// Whether a segment can hold anything of the wanted time.
fn may_hold(segment: &Segment, query: &FlowQuery) -> bool {
    segment.span.is_some_and(|(first, last)| {
        query.since.is_none_or(|since| last >= since) && query.until.is_none_or(|until| first < until)
    })
}

/// Bytes after which another segment is begun.
const SEGMENT: u64 = 4 << 20;
