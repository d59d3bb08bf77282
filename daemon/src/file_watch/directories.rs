//! Where a change can be seen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Symbolic links on the way to a file. The system gives up at 40 as well.
const MAX_LINKS: usize = 40;

/// The directories in which a change can make `file` another one: the one that it lies in, and those of the symbolic links on
/// the way there. Where something on the way is missing, the nearest directory that is there.
///
/// The root directory is never among them: nobody changes it, and FSEvents would tell of the whole disk.
pub(super) fn of(file: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut way = file.to_owned();
    for _ in 0..MAX_LINKS {
        let step = next(&way);
        let (Step::Link(at, _) | Step::End(at)) = &step;
        directories.extend(at.parent().filter(|parent| parent.parent().is_some()).map(Path::to_owned));
        match step {
            Step::Link(_, target) => way = target,
            Step::End(_) => break,
        }
    }
    directories
}

/// Where the way to a file leads on.
enum Step {
    /// The symbolic link there leads to that file.
    Link(PathBuf, PathBuf),
    /// Nothing leads on from there: it is the file itself, or what is missing on the way.
    End(PathBuf),
}

fn next(way: &Path) -> Step {
    let mut at = PathBuf::new();
    let mut parts = way.components();
    while let Some(part) = parts.next() {
        at.push(part);
        match std::fs::symlink_metadata(&at) {
            Err(_missing) => break,
            Ok(found) if !found.is_symlink() => {}
            Ok(_) => {
                let Ok(target) = std::fs::read_link(&at) else { break };
                let directory = at.parent().unwrap_or(Path::new("/"));
                let target = directory.join(target).join(parts.as_path());
                return Step::Link(at, target);
            }
        }
    }
    Step::End(at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_seen_in_its_directory_whether_it_is_there_or_not() {
        let home = Home::new();
        assert_eq!(home.of("aws/config"), [""]);
        home.make("aws");
        assert_eq!(home.of("aws/config"), ["aws"]);
        std::fs::write(home.path("aws/config"), "").unwrap();
        assert_eq!(home.of("aws/config"), ["aws"]);
    }

    #[test]
    fn what_is_missing_is_awaited_where_it_would_appear() {
        let home = Home::new();
        assert_eq!(home.of("aws/sso/cache/x"), [""]);
        home.make("aws/sso");
        assert_eq!(home.of("aws/sso/cache/x"), ["aws/sso"]);
    }

    #[test]
    fn links_are_seen_where_they_lie_and_where_they_lead() {
        let home = Home::new();
        home.make("dotfiles/aws");
        symlink("dotfiles/aws", home.path("aws")).unwrap();
        assert_eq!(home.of("aws/config"), ["", "dotfiles/aws"]);
        symlink("../real", home.path("dotfiles/aws/config")).unwrap();
        assert_eq!(home.of("aws/config"), ["", "dotfiles/aws", "dotfiles/aws/.."]);
    }

    #[test]
    fn a_link_that_leads_to_itself_has_an_end() {
        let home = Home::new();
        symlink("loop", home.path("loop")).unwrap();
        assert_eq!(home.of("loop"), [""]);
    }

    #[test]
    fn the_root_is_left_alone() {
        assert_eq!(of(Path::new("/not-there/config")), BTreeSet::new());
    }

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// Without links: some systems have their temporary directory behind one.
        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn make(&self, name: &str) {
            std::fs::create_dir_all(self.path(name)).unwrap();
        }

        /// The directories for a file, as they lie in this one.
        fn of(&self, name: &str) -> Vec<String> {
            let inside = |path: PathBuf| path.strip_prefix(self.path("")).unwrap().display().to_string();
            of(&self.path(name)).into_iter().map(inside).collect()
        }
    }
}
