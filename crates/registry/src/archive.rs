//! Writing an OCI archive: a layout in one tar file (POSIX.1-1988 headers, long sizes in GNU's binary form).

use std::io::{self, Read as _, Write};

use bastide_image::description::Descriptor;
use bastide_image::digest::Digest;
use serde_json::json;

/// An archive that is being written.
pub(crate) struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to }
    }

    /// Begins a part: so many bytes are to follow, by [`Self::write`], and then [`Self::end`].
    pub(crate) fn begin(&mut self, digest: &Digest, size: u64) -> io::Result<()> {
        self.to.write_all(&header(&format!("blobs/sha256/{}", digest.digits()), size))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    pub(crate) fn end(&mut self, size: u64) -> io::Result<()> {
        let rest = size.next_multiple_of(BLOCK as u64) - size;
        io::copy(&mut io::repeat(0).take(rest), &mut self.to).map(drop)
    }

    /// A part that is there as a whole.
    pub(crate) fn add(&mut self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        self.begin(digest, bytes.len() as u64)?;
        self.write(bytes)?;
        self.end(bytes.len() as u64)
    }

    /// Says which part is the image, and ends the archive.
    pub(crate) fn finish(mut self, manifest: &Descriptor) -> io::Result<()> {
        let descriptor = json!({
            "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size,
        });
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string();
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        for (name, text) in [("index.json", index), ("oci-layout", layout)] {
            self.to.write_all(&header(name, text.len() as u64))?;
            self.write(text.as_bytes())?;
            self.end(text.len() as u64)?;
        }
        self.to.write_all(&[0; 2 * BLOCK])?;
        self.to.flush()
    }
}

fn header(name: &str, size: u64) -> Vec<u8> {
    let mut header = field(name.as_bytes(), 100);
    for number in ["0000644", "0000000", "0000000"] {
        header.extend(field(number.as_bytes(), 8));
    }
    if size < 1 << 33 {
        header.extend(field(format!("{size:011o}").as_bytes(), 12));
    } else {
        header.extend([0x80, 0, 0, 0]);
        header.extend(size.to_be_bytes());
    }
    header.extend(field(b"00000000000", 12));
    // The sum counts its own field as spaces.
    header.extend(b"        0");
    header.extend(field(b"", 100));
    header.extend(b"ustar\x0000");
    header = field(&header, BLOCK);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header.splice(148..156, format!("{sum:06o}\0 ").into_bytes());
    header
}

fn field(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut field = bytes.to_vec();
    field.resize(length, 0);
    field
}

const BLOCK: usize = 512;
