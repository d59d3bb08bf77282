//! The program that this daemon runs, and whether the one on disk is another by now: an upgrade that waits for a restart.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one file from the next at the same path: device, inode, and when it was written.
type Identity = (u64, u64, i64, i64);

/// A program file, as it was when it was looked at first.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    identity: Option<Identity>,
}

impl Program {
    /// The program of this process, at the path that it was started by: a service manager starts the next one by the same path,
    /// which may be a link that a package manager turns.
    pub(crate) fn of_process() -> Self {
        let named = std::env::args_os().next().map(PathBuf::from).filter(|path| path.is_absolute());
        let path = named.or_else(|| std::env::current_exe().ok()).unwrap_or_default();
        // What runs, also when the path has become another's since the start.
        let running = Path::new("/proc/self/exe");
        Self { identity: identity(running).or_else(|| identity(&path)), path }
    }

    #[cfg(test)]
    fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    /// Its path; nothing where the system does not tell.
    pub(crate) fn path(&self) -> Option<&Path> {
        Some(self.path.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// Whether another file is at its path by now, or none.
    pub(crate) fn is_replaced(&self) -> bool {
        self.identity.is_some() && identity(&self.path) != self.identity
    }

    /// The sentence for people, when there is something to say.
    pub(crate) fn warning(&self) -> Option<String> {
        self.is_replaced().then(|| {
            let path = self.path.display();
            format!(
                "{path} was replaced since the daemon started; `stctl daemon restart` finishes the upgrade"
            )
        })
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let of = |file: Metadata| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec());
    fs::metadata(path).ok().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_another_file_takes_the_place_of_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (path, next) = (directory.path().join("daemon"), directory.path().join("next"));
        fs::write(&path, "old").unwrap();
        let program = Program::at(&path);
        assert_eq!((program.is_replaced(), program.warning()), (false, None));
        fs::write(&next, "new").unwrap();
        fs::rename(&next, &path).unwrap();
        assert!(program.is_replaced());
        assert!(program.warning().unwrap().starts_with(path.to_str().unwrap()));
        fs::remove_file(&path).unwrap();
        assert!(program.is_replaced(), "one that is gone is not the one that runs");
    }

    #[test]
    fn a_link_that_is_turned_replaces_the_program_and_a_second_name_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, link] = ["1.0", "1.1", "daemon"].map(|name| directory.path().join(name));
        fs::write(&one, "old").unwrap();
        fs::write(&two, "new").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let program = Program::at(&link);
        fs::hard_link(&one, directory.path().join("copy")).unwrap();
        assert!(!program.is_replaced());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&two, &link).unwrap();
        assert!(program.is_replaced());
    }

    #[test]
    fn the_program_of_this_process_is_in_its_place() {
        let program = Program::of_process();
        assert!(program.path().is_some_and(Path::is_absolute), "{program:?}");
        assert!(program.identity.is_some() && !program.is_replaced(), "{program:?}");
    }
}
