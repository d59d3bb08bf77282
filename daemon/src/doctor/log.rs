//! The end of the log.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Most bytes that are read.
const MAX_BYTES: u64 = 1024 * 1024;

/// The last whole lines, at most so many; none where there is no log.
pub(super) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MAX_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may have lost its beginning.
    let mut read: Vec<String> = text.lines().skip(usize::from(start > 0)).map(str::to_owned).collect();
    Ok(read.split_off(read.len().saturating_sub(lines)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_and_few() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        assert_eq!(tail(&path, 5).unwrap(), [""; 0]);
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["two", "three"]);
        std::fs::write(&path, "x".repeat(2 * 1024 * 1024) + "\nlast\n").unwrap();
        assert_eq!(tail(&path, 5).unwrap(), ["last"]);
    }
}
