//! What was found, at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use stormtunnel_aws_files::{Diff, ProfileSet, tokens};
use stormtunnel_model::SignInName;

/// The profiles and sign-ins of both files. No `Debug`: keys are in it.
pub struct ProfilesSnapshot {
    /// Counts the snapshots of one daemon; 0 is the empty one before the files were read.
    pub generation: u64,
    /// The profiles, the sign-ins, and what is wrong with them.
    pub set: Arc<ProfileSet>,
    /// What changed since the generation before. Who missed that one compares the sets.
    pub changes: Diff,
    /// Files that are there and cannot be read. What they held before is still in the set.
    pub unreadable: Vec<Unreadable>,
}

/// A file that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub file: PathBuf,
    /// Why, in the system's words.
    pub why: String,
}

impl ProfilesSnapshot {
    /// What the user should mend, each with its file, and its line where there is one.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let unreadable = self.unreadable.iter().map(Unreadable::to_string);
        unreadable.chain(self.set.problems().iter().map(ToString::to_string))
    }
}

impl Unreadable {
    pub(super) fn new(file: &Path, why: &io::Error) -> Self {
        Self { file: file.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot be read: {}: make it readable for you", self.file.display(), self.why)
    }
}

/// The token files in the cache, by what tells one state of a file from the next. What is in them is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFiles(BTreeMap<String, Stamp>);

/// A file that is replaced is another one, one that is written into has another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl TokenFiles {
    /// Looks at a directory; one that is not there has no files. Blocks for the disk.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".json")
                // One that was removed meanwhile is not there.
                && let Ok(found) = std::fs::metadata(directory.join(&name))
            {
                let (inode, length) = (found.ino(), found.len());
                files.insert(name, Stamp { inode, length, modified: found.modified().ok() });
            }
        }
        Ok(Self(files))
    }

    /// Whether the file of that sign-in is another one than it was `earlier`: its actor is to be told
    /// ([`shared_changed`](stormtunnel_engine::sign_in::actor::SignInHandle::shared_changed)).
    pub fn differ_from(&self, earlier: &Self, sign_in: &SignInName) -> bool {
        let name = tokens::file_name(sign_in);
        self.0.get(&name) != earlier.0.get(&name)
    }
}
