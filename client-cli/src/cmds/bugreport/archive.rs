//! The archive: a compressed tar file that only the user can read.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use stormtunnel_model::Timestamp;

use super::Part;

/// The directory in the archive.
const DIRECTORY: &str = "stormtunnel-bugreport";

/// Writes a new file; one that is there already stays as it is.
pub(super) fn write(path: &Path, parts: &[Part], now: Timestamp) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for part in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(part.text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now.as_millis() / 1000);
        archive.append_data(&mut header, format!("{DIRECTORY}/{}", part.name), part.text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()
}
