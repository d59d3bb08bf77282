//! Modes of files that others must not read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use stormtunnel_engine::doctor::OpenPath;

use crate::aws_dir::AwsPaths;

/// Of a directory that only the user may enter.
const DIRECTORY: u32 = 0o700;
/// Of a file that only the user may read.
const FILE: u32 = 0o600;
/// Of a file that only the user may write.
const READABLE: u32 = 0o644;

/// The state directory, what lies in it, and its key store.
pub(super) fn of_state(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mut wanted = vec![(directory.to_owned(), DIRECTORY)];
    wanted.extend(within(directory));
    wanted.extend(within(&directory.join("keys")));
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

/// Those that are more open than wanted. With `close` they get the part of their mode that is wanted.
pub(super) fn open_among(wanted: Vec<(PathBuf, u32)>, close: bool) -> Vec<OpenPath> {
    let look = |(path, wanted): (PathBuf, u32)| {
        let mode = fs::metadata(&path).ok()?.permissions().mode() & 0o777;
        let wanted = mode & wanted;
        let closed = || {
            let set = fs::set_permissions(&path, Permissions::from_mode(wanted));
            set.map_err(|error| error.to_string())
        };
        let closed = (close && mode != wanted).then(closed);
        (mode != wanted).then_some(OpenPath { path, mode, wanted, closed })
    };
    wanted.into_iter().filter_map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_found_and_closed_on_request() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("credentials");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let look = |close| open_among(vec![(file.clone(), FILE)], close);
        assert_eq!(
            (look(false)[0].mode, look(false)[0].wanted, &look(false)[0].closed),
            (0o644, 0o600, &None)
        );
        assert_eq!(look(true)[0].closed, Some(Ok(())));
        assert_eq!(look(false), []);
    }
}
