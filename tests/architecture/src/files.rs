//! The files of the workspace, as git would see them.

use std::sync::LazyLock;

use ignore::WalkBuilder;

use crate::graph;

/// A text file of the workspace.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path relative to the root, with `/` between the parts.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl File {
    /// A file that exists only in a test.
    pub fn planted(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether it is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it lies in one of `directories`.
    pub fn is_below(&self, directories: &[&str]) -> bool {
        directories.iter().any(|directory| {
            self.path
                .strip_prefix(directory)
                .is_some_and(|rest| rest.starts_with('/') || directory.is_empty())
        })
    }
}

/// Every text file that is not ignored by git. The rules of `.gitignore` are applied here and not asked of
/// git, so that the tests also pass in an unpacked archive.
pub fn workspace() -> &'static [File] {
    static FILES: LazyLock<Vec<File>> = LazyLock::new(read_all);
    &FILES
}

fn read_all() -> Vec<File> {
    let root = graph::root();
    let walk = WalkBuilder::new(&root)
        .hidden(false)
        .require_git(false)
        .git_global(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.expect("the workspace can be listed");
        let path = entry.path().strip_prefix(&root).expect("the walk stays below the root");
        // What is not UTF-8 (recorded frames, fuzz corpora) is no text and has no rules.
        if let Ok(text) = std::fs::read_to_string(entry.path()) {
            files.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_file_and_nothing_ignored() {
        let files = workspace();
        assert!(files.iter().any(|file| file.path == "tests/architecture/src/files.rs"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/") || file.path.starts_with(".git/")));
    }

    #[test]
    fn a_directory_is_not_a_prefix_of_a_name() {
        let file = File::planted("daemon/crates/smux2/src/lib.rs", "");
        assert!(!file.is_below(&["daemon/crates/smux"]));
        assert!(file.is_below(&["daemon/crates"]));
    }
}
