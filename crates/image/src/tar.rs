//! A reader of tar archives: POSIX ustar with the extensions that GNU tar and pax write.

use std::io::{self, Read};

use thiserror::Error;

/// The entries of an archive, one after the other.
#[derive(Debug)]
pub struct Entries<R> {
    source: R,
    /// How much of the current entry's content has not been read.
    left: u64,
    /// What fills its last block.
    padding: u64,
    /// How many bytes of the archive have been read.
    position: u64,
}

/// What an archive says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, as it was written: it may be hostile.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, and what else was written beside them.
    pub mode: u32,
    /// The number of its owner.
    pub user: u64,
    /// The number of its group.
    pub group: u64,
    /// Bytes of content that follow.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: i64,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One with content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// Another name for what has this path in the archive.
    Link(Vec<u8>),
    /// A device or a pipe.
    Special,
}

/// What is wrong with an archive.
#[derive(Debug, Error)]
pub enum TarError {
    /// It could not be read.
    #[error("the archive cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Something in it is not as it must be.
    #[error("the archive is damaged: {0}")]
    Damaged(&'static str),
    /// It uses what nobody needs for an image.
    #[error("the archive has an entry of the kind {:?}, which images do not need", char::from(*.0))]
    Unknown(u8),
    /// A name or an extension is longer than any real one.
    #[error("the archive has an extension of {0} bytes, which is more than {LONGEST_EXTENSION}")]
    TooLong(u64),
}

impl<R: Read> Entries<R> {
    /// Reads from the beginning of an archive.
    pub fn new(source: R) -> Self {
        Self { source, left: 0, padding: 0, position: 0 }
    }

    /// The next entry; what has not been read of the last one's content is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(field(&header, 124, 12)).ok_or(TarError::Damaged("a size that is no number"))?;
            match header.get(156).copied().unwrap_or_default() {
                b'L' => extensions.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extensions.link = Some(until_nul(&self.extension(size)?).to_vec()),
                b'x' => extensions.read(&self.extension(size)?)?,
                // For all entries that follow: a comment of the program that wrote it.
                b'g' => drop(self.extension(size)?),
                kind => return self.entry(&header, kind, size, extensions).map(Some),
            }
        }
    }

    /// Where the content of the current entry begins, if none of it has been read.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn entry(&mut self, header: &Header, kind: u8, size: u64, extensions: Extensions) -> Result<Entry, TarError> {
        let size = extensions.size.unwrap_or(size);
        let link = extensions.link.unwrap_or_else(|| until_nul(field(header, 157, 100)).to_vec());
        let path = extensions.path.unwrap_or_else(|| path(header));
        let kind = match kind {
            // Before POSIX, a directory was a file whose name ends so.
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::Link(link),
            b'2' => Kind::Symlink(link),
            b'3' | b'4' | b'6' => Kind::Special,
            b'5' => Kind::Directory,
            other => return Err(TarError::Unknown(other)),
        };
        // Some write the size of what a link leads to; nothing follows it.
        let size = if kind == Kind::File { size } else { 0 };
        let user = number(field(header, 108, 8)).ok_or(TarError::Damaged("an owner that is no number"))?;
        let group = number(field(header, 116, 8)).ok_or(TarError::Damaged("a group that is no number"))?;
        let mode = number(field(header, 100, 8)).ok_or(TarError::Damaged("a mode that is no number"))?;
        let modified = number(field(header, 136, 12)).unwrap_or_default();
        self.expect(size);
        Ok(Entry {
            path,
            kind,
            mode: u32::try_from(mode & 0o7777).unwrap_or_default(),
            user: extensions.user.unwrap_or(user),
            group: extensions.group.unwrap_or(group),
            size,
            modified: i64::try_from(modified).unwrap_or_default(),
        })
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// None at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.source.read(rest)? {
                // Some leave out the empty blocks at the end.
                0 if filled == 0 => return Ok(None),
                0 => return Err(TarError::Damaged("it ends in the middle of a header")),
                length => filled += length,
            }
        }
        self.position += BLOCK as u64;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(place, byte)| u64::from(if (148..156).contains(&place) { b' ' } else { *byte }))
            .sum();
        if number(field(&header, 148, 8)) != Some(sum) {
            return Err(TarError::Damaged("the sum of a header is wrong"));
        }
        Ok(Some(header))
    }

    /// The content of an entry that belongs to the next one.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > LONGEST_EXTENSION {
            return Err(TarError::TooLong(size));
        }
        self.expect(size);
        let mut content = Vec::new();
        self.by_ref().read_to_end(&mut content)?;
        Ok(content)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), TarError> {
        let skipped = io::copy(&mut (&mut self.source).take(bytes), &mut io::sink())?;
        self.position += skipped;
        if skipped < bytes {
            return Err(TarError::Damaged("it ends in the middle of a file"));
        }
        Ok(())
    }
}

/// The content of the current entry.
impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let length = self.source.read(buffer)?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a file"));
        }
        self.left -= length as u64;
        self.position += length as u64;
        Ok(length)
    }
}

/// What entries before an entry say about it.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<u64>,
    group: Option<u64>,
}

impl Extensions {
    /// Reads the records of a pax header, `LENGTH KEY=VALUE\n`.
    fn read(&mut self, mut records: &[u8]) -> Result<(), TarError> {
        while !records.is_empty() {
            let (record, rest) = pax_record(records).ok_or(TarError::Damaged("an extension that cannot be read"))?;
            records = rest;
            let equals = record.iter().position(|byte| *byte == b'=');
            let (key, value) = record.split_at(equals.ok_or(TarError::Damaged("an extension without a value"))?);
            let value = value.get(1..).unwrap_or_default();
            let number = || decimal(value).ok_or(TarError::Damaged("an extension that is no number"));
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?),
                b"uid" => self.user = Some(number()?),
                b"gid" => self.group = Some(number()?),
                // A file with holes has its content written otherwise.
                key if key.starts_with(b"GNU.sparse") => return Err(TarError::Unknown(b'S')),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A record without its length and its newline, and what follows it.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(records.get(..space)?)?).ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, records.get(length..)?))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // Times and the like have a fraction; nobody asks for one here.
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// A number of a header: octal digits, or binary when the first bit says so (GNU). Empty is zero.
fn number(field: &[u8]) -> Option<u64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let (high, low) = rest.split_at(rest.len().checked_sub(8)?.min(rest.len()));
        // Negative, or more than anything can be.
        if first & 0x7f != 0 || high.iter().any(|byte| *byte != 0) {
            return None;
        }
        return low.iter().try_fold(0_u64, |number, byte| Some(number << 8 | u64::from(*byte)));
    }
    let text = until_nul(field).trim_ascii();
    text.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn path(header: &Header) -> Vec<u8> {
    let name = until_nul(field(header, 0, 100));
    let prefix = until_nul(field(header, 345, 155));
    // GNU tar has other things in that place.
    if prefix.is_empty() || field(header, 257, 6) != b"ustar\0" {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn field(header: &Header, start: usize, length: usize) -> &[u8] {
    header.get(start..start + length).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

type Header = [u8; BLOCK];

const BLOCK: usize = 512;

/// Paths have 4,096 bytes at most; extended attributes, which are not kept, 64 KiB each.
const LONGEST_EXTENSION: u64 = 1 << 20;

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Writes archives, also such as no honest program would write.
    #[derive(Debug, Default, Clone)]
    pub(crate) struct Writer {
        pub(crate) bytes: Vec<u8>,
    }

    impl Writer {
        pub(crate) fn add(&mut self, kind: u8, path: &str, link: &str, content: &[u8]) -> &mut Self {
            self.add_with(kind, path, link, content, |_| {})
        }

        pub(crate) fn add_with(
            &mut self,
            kind: u8,
            path: &str,
            link: &str,
            content: &[u8],
            change: impl FnOnce(&mut Header),
        ) -> &mut Self {
            let mut header = [0; BLOCK];
            let mut put = |start: usize, bytes: &[u8]| header[start..start + bytes.len()].copy_from_slice(bytes);
            put(0, path.as_bytes());
            put(100, b"0000755");
            put(108, b"0000000");
            put(116, b"0000000");
            put(124, format!("{:011o}", content.len()).as_bytes());
            put(136, b"00000000001");
            put(156, &[kind]);
            put(157, link.as_bytes());
            put(257, b"ustar\x0000");
            change(&mut header);
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            self.bytes.extend_from_slice(&header);
            self.bytes.extend_from_slice(content);
            self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
            self
        }

        pub(crate) fn file(&mut self, path: &str, content: &str) -> &mut Self {
            self.add(b'0', path, "", content.as_bytes())
        }

        pub(crate) fn directory(&mut self, path: &str) -> &mut Self {
            self.add(b'5', path, "", b"")
        }

        pub(crate) fn symlink(&mut self, path: &str, to: &str) -> &mut Self {
            self.add(b'2', path, to, b"")
        }

        pub(crate) fn pax(&mut self, records: &[(&str, &str)]) -> &mut Self {
            let mut text = String::new();
            for (key, value) in records {
                let rest = format!(" {key}={value}\n");
                let length = (1..9999).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
                write!(text, "{length}{rest}").unwrap();
            }
            self.add(b'x', "pax", "", text.as_bytes())
        }
    }

    #[test]
    fn files_are_read_with_their_content() {
        let mut writer = Writer::default();
        writer.directory("etc/").file("etc/motd", "hello").symlink("bin", "usr/bin");
        let mut entries = Entries::new(writer.bytes.as_slice());
        assert_eq!(entries.next_entry().unwrap().unwrap().kind, Kind::Directory);
        let motd = entries.next_entry().unwrap().unwrap();
        assert_eq!((motd.path.as_slice(), motd.size, motd.mode), (&b"etc/motd"[..], 5, 0o755));
        let mut content = String::new();
        entries.read_to_string(&mut content).unwrap();
        assert_eq!(content, "hello");
        assert_eq!(entries.next_entry().unwrap().unwrap().kind, Kind::Symlink(b"usr/bin".to_vec()));
        assert_eq!(entries.next_entry().unwrap(), None);
    }

    #[test]
    fn long_names_come_before_their_entry() {
        let long = "d/".repeat(100) + "file";
        let mut writer = Writer::default();
        writer.add(b'L', "././@LongLink", "", format!("{long}\0").as_bytes()).file("short", "1");
        writer.pax(&[("path", &long), ("uid", "7"), ("mtime", "1.5"), ("size", "2")]).file("short", "22");
        writer.file("own", "");
        let mut entries = Entries::new(writer.bytes.as_slice());
        let gnu = entries.next_entry().unwrap().unwrap();
        assert_eq!((gnu.path, gnu.size), (long.clone().into_bytes(), 1));
        let pax = entries.next_entry().unwrap().unwrap();
        assert_eq!((pax.path, pax.size, pax.user), (long.into_bytes(), 2, 7));
        assert_eq!(entries.next_entry().unwrap().unwrap().path, b"own");
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let mut writer = Writer::default();
        writer.file("file", "content");
        let mut flipped = writer.bytes.clone();
        flipped[0] ^= 1;
        assert!(matches!(Entries::new(flipped.as_slice()).next_entry(), Err(TarError::Damaged(_))));
        let mut cut = Entries::new(&writer.bytes[..515]);
        cut.next_entry().unwrap();
        assert!(cut.next_entry().is_err());
        assert!(Entries::new(&writer.bytes[..100]).next_entry().is_err());
    }

    #[test]
    fn an_endless_name_takes_no_memory() {
        let mut writer = Writer::default();
        writer.add_with(b'L', "long", "", b"", |header| header[124..136].copy_from_slice(b"77777777777\0"));
        let refused = Entries::new(writer.bytes.as_slice()).next_entry();
        assert!(matches!(refused, Err(TarError::TooLong(8_589_934_591))), "{refused:?}");
    }

    #[test]
    fn numbers_are_octal_or_binary_and_never_negative() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"        "), Some(0));
        assert_eq!(number(b"12x\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None);
    }
}
