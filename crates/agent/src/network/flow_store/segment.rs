//! A file of a flow log: records one after another, a line of JSON each.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bastide_plan::flow::{FlowRecord, Place};

/// What is known of a segment without reading it again.
#[derive(Debug, Clone)]
pub struct Segment {
    path: Arc<Path>,
    /// The place of its first record.
    pub first: Place,
    /// Lines in it.
    pub count: u64,
    /// Bytes in it, all of them whole lines.
    pub bytes: u64,
    /// Of its records, in milliseconds since 1970: when the first and the last of them began. None: unknown.
    pub span: Option<(i64, i64)>,
}

impl Segment {
    /// An empty one in a directory.
    pub fn create(directory: &Path, first: Place) -> io::Result<(Self, File)> {
        let path = directory.join(format!("{first:020}.{EXTENSION}"));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        Ok((Self { path: path.into(), first, count: 0, bytes: 0, span: None }, file))
    }

    /// Finds out what an old one holds. A torn last line is cut off.
    pub fn open(path: PathBuf) -> io::Result<Option<Self>> {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION));
        let Some(first) = stem.and_then(|stem| stem.parse().ok()) else { return Ok(None) };
        let mut segment = Self { path: path.into(), first, count: 0, bytes: 0, span: None };
        let mut length = 0;
        let mut reader = BufReader::new(File::open(&segment.path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                break;
            }
            length += read;
            if line.ends_with(b"\n") {
                segment.bytes += read;
                segment.count += 1;
                if let Ok(record) = serde_json::from_slice::<FlowRecord>(&line) {
                    segment.note(record.at);
                }
            }
        }
        if length > segment.bytes {
            tracing::warn!("{} ends in half a line, which is cut off", segment.path.display());
            OpenOptions::new().write(true).open(&segment.path)?.set_len(segment.bytes)?;
        }
        Ok(Some(segment))
    }

    /// Opens it to go on at its end.
    pub fn resume(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(&self.path)
    }

    /// Appends records. When that fails half way, what was written of them is taken back.
    pub fn append(&mut self, file: &mut File, records: &[FlowRecord]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(records.len() * 300);
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        if let Err(error) = file.write_all(&lines) {
            file.set_len(self.bytes)?;
            return Err(error);
        }
        for record in records {
            self.note(record.at);
        }
        self.count += records.len() as u64;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Its records with their places, oldest first, of the lines that were in it when this was made.
    pub fn records(&self) -> io::Result<impl Iterator<Item = (Place, FlowRecord)>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(0))?;
        let lines = BufReader::with_capacity(1 << 18, file.take(self.bytes)).split(b'\n');
        let records = (self.first..).zip(lines.map_while(Result::ok));
        // A line that is no record is of a version that this one does not know; its place stays taken.
        Ok(records.filter_map(|(place, line)| Some((place, serde_json::from_slice(&line).ok()?))))
    }

    /// The place after its last record.
    pub fn end(&self) -> Place {
        self.first + self.count
    }

    /// Takes it away.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    fn note(&mut self, at: i64) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }
}

const EXTENSION: &str = "jsonl";
