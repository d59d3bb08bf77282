//! The build script that names the commit: it is shared by both programs, and cargo tests no build scripts.

#![expect(clippy::unwrap_used, reason = "a broken expectation is a failed test")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "../../../version/build.rs"]
#[expect(dead_code, clippy::print_stdout, reason = "its main is for cargo")]
mod script;

/// Runs git without the configuration of whoever tests, on a day long ago.
fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(directory).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        command.env(format!("GIT_{who}_DATE"), "2020-01-02T03:04:05Z");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    git(directory.path(), &["init", "--quiet", "--initial-branch=main"]);
    git(directory.path(), &["commit", "--quiet", "--allow-empty", "--message=one"]);
    directory
}

fn released(root: &Path) -> String {
    script::version("1.2.3", true, None, root)
}

#[test]
fn a_release_names_the_commit_and_its_date() {
    let repository = repository();
    let hash = git(repository.path(), &["rev-parse", "--short=7", "HEAD"]);
    assert_eq!(released(repository.path()), format!("1.2.3 ({hash} 2020-01-02)"));
}

#[test]
fn what_is_no_release_names_no_commit() {
    let repository = repository();
    assert_eq!(script::version("1.2.3", false, None, repository.path()), "1.2.3 (development build)");
}

#[test]
fn without_a_repository_of_its_own_the_number_stands_alone() {
    let repository = repository();
    let inside = repository.path().join("vendor/stormtunnel");
    fs::create_dir_all(&inside).unwrap();
    assert_eq!(released(&inside), "1.2.3", "the commit of another project");
    let without_commits = tempfile::tempdir().unwrap();
    git(without_commits.path(), &["init", "--quiet"]);
    assert_eq!(released(without_commits.path()), "1.2.3");
    assert!(script::watched(&inside).is_empty());
}

#[test]
fn packagers_have_the_last_word() {
    let repository = repository();
    let version = |given: &str, is_release| {
        script::version("1.2.3", is_release, Some(given.to_owned()), repository.path())
    };
    assert_eq!(version("abcdef0 2026-01-01", true), "1.2.3 (abcdef0 2026-01-01)");
    assert_eq!(version("Debian 1.2.3-1", false), "1.2.3 (Debian 1.2.3-1)");
    assert_eq!(version("", true), "1.2.3");
}

/// Whatever moves the commit changes a file that cargo watches.
#[test]
fn a_new_commit_is_noticed() {
    let repository = repository();
    let path = repository.path();
    let state =
        || -> Vec<Vec<u8>> { script::watched(path).iter().map(|file| fs::read(file).unwrap()).collect() };
    let moves: [(&str, &[&str]); 4] = [
        ("commit", &["commit", "--quiet", "--allow-empty", "--message=two"]),
        ("pack", &["pack-refs", "--all"]),
        ("commit after packing", &["commit", "--quiet", "--allow-empty", "--message=three"]),
        ("checkout", &["checkout", "--quiet", "--detach", "HEAD~1"]),
    ];
    for (what, arguments) in moves {
        let (files, before) = (script::watched(path), state());
        assert!(files.len() >= 3, "{files:?}");
        git(path, arguments);
        let after: Vec<_> = files.iter().map(|file| fs::read(file).unwrap_or_default()).collect();
        assert!(before != after || what == "pack", "{what} changes none of {files:?}");
    }
}
