//! Modes of files that others must not read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use stormtunnel_engine::doctor::OpenPath;

use crate::aws_dir::AwsPaths;
use crate::{keystore, purge};

/// Of a directory that only the user may enter.
const DIRECTORY: u32 = 0o700;
/// Of a file that only the user may read.
const FILE: u32 = 0o600;
/// Of a file that only the user may write.
const READABLE: u32 = 0o644;

/// The state directory, what a daemon has made in it, and its key store. A directory that was chosen by hand may hold other things,
/// and then others may have to enter it.
pub(super) fn of_state(directory: &Path) -> Vec<(PathBuf, u32)> {
    let is_ours = |(path, _): &(PathBuf, u32)| path.file_name().is_some_and(purge::is_ours);
    let (ours, others): (Vec<_>, Vec<_>) = within(directory).into_iter().partition(is_ours);
    let mut wanted = ours;
    if others.is_empty() {
        wanted.push((directory.to_owned(), DIRECTORY));
    }
    wanted.extend(within(&directory.join(keystore::DIRECTORY)));
    wanted
}

/// The files of the AWS CLI that hold secrets, and the one that says which programs run.
pub(super) fn of_aws(paths: &AwsPaths) -> Vec<(PathBuf, u32)> {
    let mut wanted = vec![(paths.credentials.clone(), FILE), (paths.config.clone(), READABLE)];
    let tokens = within(&paths.sso_cache);
    wanted.extend(tokens.into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "json")));
    wanted
}

fn within(directory: &Path) -> Vec<(PathBuf, u32)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let wanted = entries.filter_map(|entry| {
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            Some((entry.path(), DIRECTORY))
        } else {
            kind.is_file().then(|| (entry.path(), FILE))
        }
    });
    wanted.collect()
}

/// Those that are more open than wanted. With `close` they get the part of their mode that is wanted, if they belong to `user`.
pub(super) fn open_among(wanted: Vec<(PathBuf, u32)>, user: u32, close: bool) -> Vec<OpenPath> {
    let look = |(path, wanted): (PathBuf, u32)| {
        let seen = fs::metadata(&path).ok()?;
        let mode = seen.permissions().mode() & 0o777;
        let wanted = mode & wanted;
        let closed = || {
            let set = fs::set_permissions(&path, Permissions::from_mode(wanted));
            set.map_err(|error| error.to_string())
        };
        let closed = match (mode != wanted, seen.uid() == user) {
            (true, false) => Some(Err(format!("it belongs to user {}", seen.uid()))),
            (true, true) => close.then(closed),
            (false, _) => None,
        };
        (mode != wanted).then_some(OpenPath { path, mode, wanted, closed })
    };
    wanted.into_iter().filter_map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn what_is_not_ours_is_told_and_never_touched() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("credentials");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let found = open_among(vec![(file.clone(), FILE)], own() + 1, true);
        assert_eq!(found[0].closed, Some(Err(format!("it belongs to user {}", own()))));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn of_a_state_directory_only_what_a_daemon_made_is_looked_at() {
        let home = tempfile::tempdir().unwrap();
        for name in ["stormtunnel.db", "stormtunneld.log.1"] {
            fs::write(home.path().join(name), "").unwrap();
        }
        fs::create_dir(home.path().join("keys")).unwrap();
        fs::write(home.path().join("keys/a"), "").unwrap();
        let looked_at = || {
            let mut paths: Vec<PathBuf> = of_state(home.path()).into_iter().map(|(path, _)| path).collect();
            paths.sort();
            paths
        };
        let ours =
            ["keys", "keys/a", "stormtunnel.db", "stormtunneld.log.1"].map(|name| home.path().join(name));
        assert_eq!(looked_at(), [&[home.path().to_owned()], &ours[..]].concat());
        // Somebody else's letter, for others to read.
        fs::write(home.path().join("letter.txt"), "").unwrap();
        assert_eq!(looked_at(), ours);
    }

    #[test]
    fn what_is_open_is_found_and_closed_on_request() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("credentials");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let look = |close| open_among(vec![(file.clone(), FILE)], own(), close);
        assert_eq!(
            (look(false)[0].mode, look(false)[0].wanted, &look(false)[0].closed),
            (0o644, 0o600, &None)
        );
        assert_eq!(look(true)[0].closed, Some(Ok(())));
        assert_eq!(look(true), [], "there is nothing left to do");
        assert_eq!(look(false), []);
    }
}
