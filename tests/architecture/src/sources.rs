//! What may not be written where.

use crate::{
    Violation,
    files::File,
    tokens::{self, Token},
};

/// Hard limit of a source file, in lines; 500 is the aim.
const MAX_LINES: usize = 700;

/// Ways to the operating system: sockets, files, processes, environment, entropy, wall clock.
const WORLD: &[&str] = &[
    "OsRng",
    "SystemTime :: now",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "env ::",
    "fs ::",
    "getrandom ::",
    "process ::",
    "thread ::",
    "thread_rng",
];

/// Crates that leave the world to their callers.
const WORLDLESS: &[&str] = &[
    "daemon/crates/aws-files/src/ini",
    "daemon/crates/aws-files/src/profiles",
    "daemon/crates/engine",
    "daemon/crates/smux",
    "daemon/crates/ssm-session",
    "proto/model",
];

/// What runs by itself or reads a clock.
const ASYNC: &[&str] = &[". await", "Instant :: now", "async fn", "async move", "tokio ::"];

/// Crates that only compute: their callers decide when.
const SANS_IO: &[&str] =
    &["daemon/crates/aws-files", "daemon/crates/smux", "daemon/crates/ssm-session", "proto/model"];

/// Channels that grow until memory ends.
const UNBOUNDED: &[&str] = &[
    "unbounded_channel",
    "UnboundedSender",
    "UnboundedReceiver",
    "unbounded (",
    "std :: sync :: mpsc :: channel",
];

/// Crates below `tests/` whose `src` is a program and not a test.
const TEST_PROGRAMS: &[&str] = &["tests/emulator/src", "tests/demo/src"];

/// Absolute paths of the machine where a file was written.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "brief"),
    concat!("/tmp/", "bash_"),
    concat!("/tmp/", "tgt-"),
];

/// Marks of unfinished work.
const LEFT_OPEN: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Files stay small enough to be read in one go.
pub fn length(files: &[File]) -> Vec<Violation> {
    let long = files.iter().filter(|file| file.is_rust() && file.text.lines().count() > MAX_LINES);
    long.map(|file| Violation {
        place: file.path.clone(),
        found: format!("has {} lines, more than {MAX_LINES}", file.text.lines().count()),
        reason: "a file that long holds more than one concept: split it where the second one begins",
    })
    .collect()
}

/// Every Rust file can be read by the other rules.
pub fn readable(files: &[File]) -> Vec<Violation> {
    let broken = rust(files).filter_map(|file| tokens::tokens(&file.text).err().map(|error| (file, error)));
    broken
        .map(|(file, error)| Violation {
            place: file.path.clone(),
            found: format!("is no Rust source: {error}"),
            reason: "a file that cannot be read would pass every other rule",
        })
        .collect()
}

/// Cores do not touch the operating system.
pub fn worldless(files: &[File]) -> Vec<Violation> {
    let reason = "the world is an argument (bytes, ports, a clock, a seed), so that a test owns all of it";
    products(files, WORLDLESS).flat_map(|file| matching(file, &product(file), WORLD, reason)).collect()
}

/// The protocol cores and the model neither wait nor look at a clock.
pub fn sans_io(files: &[File]) -> Vec<Violation> {
    let reason = "time is an argument of a core: two of them can then talk under one virtual clock";
    products(files, SANS_IO).flat_map(|file| matching(file, &product(file), ASYNC, reason)).collect()
}

/// No test is switched off.
pub fn ignored(files: &[File]) -> Vec<Violation> {
    let reason = "a test that nobody runs is not kept true: fix it, delete it, or skip it at run time with a visible reason";
    rust(files).flat_map(|file| matching(file, &lex(file), &["# [ ignore"], reason)).collect()
}

/// Tests wait for events, not for time.
pub fn sleeps(files: &[File]) -> Vec<Violation> {
    let reason = "a sleep is too short on a busy machine and too long on all others: wait for the event, with a deadline";
    let sleeps = rust(files).filter(|file| !file.is_below(TEST_PROGRAMS)).flat_map(|file| {
        let all = lex(file);
        let tests = if is_test(file) { all } else { tokens::split(&all).test };
        matching(file, &tests, &["sleep ("], reason)
    });
    sleeps.collect()
}

/// Channels are bounded.
pub fn unbounded_channels(files: &[File]) -> Vec<Violation> {
    let reason = "a queue without a bound hides a slow reader until memory is gone";
    rust(files).flat_map(|file| matching(file, &lex(file), UNBOUNDED, reason)).collect()
}

/// The capacity of a channel has a name, whose documentation gives the reason for the number. One, a hand-over,
/// speaks for itself.
pub fn unnamed_capacities(files: &[File]) -> Vec<Violation> {
    let reason = "a bare number says nothing of why it is enough and what happens when it is not";
    let is_number = |token: &Token| token.text != "1" && token.text.starts_with(|c: char| c.is_ascii_digit());
    let mut violations = Vec::new();
    for file in rust(files).filter(|file| !is_test(file) || file.is_below(TEST_PROGRAMS)) {
        let tokens = product(file);
        let calls = tokens.windows(3).filter(|call| call[0].text == "channel" && call[1].text == "(");
        violations.extend(calls.filter(|call| is_number(&call[2])).map(|call| Violation {
            place: format!("{}:{}", file.path, call[0].line),
            found: format!("a channel with the bare capacity {}", call[2].text),
            reason,
        }));
    }
    violations
}

/// No file names a path of the machine it was written on.
pub fn machine_paths(files: &[File]) -> Vec<Violation> {
    containing(files, MACHINE_PATHS, is_absolute, "the path means nothing on another machine")
}

/// Nothing is left for later inside the code.
pub fn left_open(files: &[File]) -> Vec<Violation> {
    let rust: Vec<File> = rust(files).cloned().collect();
    containing(
        &rust,
        LEFT_OPEN,
        |_| true,
        "work that is known to be missing is finished, or filed where somebody will look for it",
    )
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.is_rust())
}

/// The files of `directories` that are compiled into the product.
fn products<'a>(files: &'a [File], directories: &'a [&str]) -> impl Iterator<Item = &'a File> {
    rust(files).filter(|file| file.is_below(directories) && !is_test(file) && !is_build_script(file))
}

/// The tokens of a file without its unit tests.
fn product(file: &File) -> Vec<Token> {
    tokens::split(&lex(file)).product
}

/// Integration tests and everything below the top-level `tests/`; unit tests inside a product file are split
/// off by tokens.
fn is_test(file: &File) -> bool {
    file.path.starts_with("tests/")
        || file.path.contains("/tests/")
        || file.path.ends_with("/tests.rs")
        || file.path.ends_with("_tests.rs")
}

fn is_build_script(file: &File) -> bool {
    file.path.ends_with("/build.rs")
}

/// The tokens of a file; none if it cannot be read, which [`readable`] reports.
fn lex(file: &File) -> Vec<Token> {
    tokens::tokens(&file.text).unwrap_or_default()
}

fn matching(file: &File, tokens: &[Token], patterns: &[&str], reason: &'static str) -> Vec<Violation> {
    let found = patterns
        .iter()
        .flat_map(|pattern| tokens::find(tokens, pattern).into_iter().map(move |line| (line, *pattern)));
    found
        .map(|(line, pattern)| Violation {
            place: format!("{}:{line}", file.path),
            found: format!("`{}`", pattern.replace(' ', "")),
            reason,
        })
        .collect()
}

/// Every place where one of `texts` stands and what precedes it in its line is `right`.
fn containing(
    files: &[File],
    texts: &[&str],
    right: fn(&str) -> bool,
    reason: &'static str,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let found =
                texts.iter().filter(|text| line.match_indices(**text).any(|(at, _)| right(&line[..at])));
            violations.extend(found.map(|text| Violation {
                place: format!("{}:{}", file.path, number + 1),
                found: format!("`{text}`"),
                reason,
            }));
        }
    }
    violations
}

/// Whether a path that begins after `before` is absolute and not the end of a longer one.
fn is_absolute(before: &str) -> bool {
    !before.ends_with(|last: char| last.is_alphanumeric() || "_-.~}$/".contains(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files::workspace, report};

    type Rule = fn(&[File]) -> Vec<Violation>;

    #[test]
    fn the_workspace_keeps_every_rule() {
        let rules: [(&str, Rule); 10] = [
            ("length", length),
            ("readable", readable),
            ("worldless", worldless),
            ("sans_io", sans_io),
            ("ignored", ignored),
            ("sleeps", sleeps),
            ("unbounded_channels", unbounded_channels),
            ("unnamed_capacities", unnamed_capacities),
            ("machine_paths", machine_paths),
            ("left_open", left_open),
        ];
        for (name, rule) in rules {
            let report = report(&rule(workspace()));
            assert!(report.is_empty(), "rule {name} is broken:\n{report}");
        }
    }

    #[test]
    fn every_directory_of_a_rule_exists() {
        for directory in WORLDLESS.iter().chain(SANS_IO).chain(TEST_PROGRAMS) {
            assert!(
                workspace().iter().any(|file| file.is_below(&[directory])),
                "nothing lies in {directory}"
            );
        }
    }

    #[test]
    fn a_long_file_is_rejected() {
        assert_rejects(length, "daemon/src/app.rs", &"\n".repeat(MAX_LINES + 1));
        assert_accepts(length, "daemon/src/app.rs", &"\n".repeat(MAX_LINES));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_rejected() {
        assert_rejects(readable, "daemon/src/app.rs", "fn main() { (");
    }

    #[test]
    fn the_world_in_a_core_is_rejected() {
        for (pattern, directory) in
            WORLD.iter().flat_map(|pattern| WORLDLESS.iter().map(move |core| (pattern, core)))
        {
            assert_rejects(worldless, &format!("{directory}/src/mux.rs"), &format!("fn f() {{ {pattern} }}"));
        }
        assert_accepts(worldless, "daemon/src/app.rs", "fn f() { std::fs::read(path); }");
    }

    #[test]
    fn waiting_in_a_core_is_rejected() {
        for (pattern, directory) in
            ASYNC.iter().flat_map(|pattern| SANS_IO.iter().map(move |core| (pattern, core)))
        {
            assert_rejects(sans_io, &format!("{directory}/src/mux.rs"), &format!("fn f() {{ {pattern} }}"));
        }
        assert_accepts(sans_io, "daemon/crates/engine/src/clock.rs", "fn f() { Instant::now(); }");
    }

    #[test]
    fn a_test_of_a_core_may_start_a_clock() {
        let source = "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { Instant::now(); } }";
        assert_accepts(sans_io, "daemon/crates/smux/src/mux.rs", source);
        assert_accepts(sans_io, "daemon/crates/smux/tests/model.rs", "fn f() { Instant::now(); }");
    }

    #[test]
    fn an_ignored_test_is_rejected() {
        assert_rejects(ignored, "daemon/tests/api.rs", "#[test]\n#[ignore]\nfn f() {}");
        assert_rejects(ignored, "daemon/tests/api.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}");
    }

    #[test]
    fn a_sleep_in_a_test_is_rejected() {
        assert_rejects(sleeps, "tests/e2e/tests/up.rs", "fn f() { tokio::time::sleep(SECOND); }");
        assert_rejects(sleeps, "daemon/src/app.rs", "#[cfg(test)]\nmod tests { fn f() { sleep(SECOND); } }");
        assert_accepts(sleeps, "daemon/src/app.rs", "fn f() { sleep(backoff); }");
        assert_accepts(sleeps, "tests/emulator/src/agent.rs", "fn f() { sleep(AGENT_PAUSE); }");
    }

    #[test]
    fn an_unbounded_channel_is_rejected() {
        assert_rejects(
            unbounded_channels,
            "daemon/src/app.rs",
            "fn f() { mpsc::unbounded_channel::<u8>(); }",
        );
        assert_rejects(unbounded_channels, "daemon/src/app.rs", "use tokio::sync::mpsc::UnboundedSender;");
        assert_rejects(unbounded_channels, "daemon/src/app.rs", "fn f() { std::sync::mpsc::channel(); }");
        assert_accepts(unbounded_channels, "daemon/src/app.rs", "fn f() { mpsc::channel(CAPACITY); }");
    }

    #[test]
    fn a_bare_capacity_is_rejected() {
        assert_rejects(unnamed_capacities, "daemon/src/app.rs", "fn f() { let (a, b) = mpsc::channel(64); }");
        assert_accepts(
            unnamed_capacities,
            "daemon/src/app.rs",
            "fn f() { mpsc::channel(CAPACITY); mpsc::channel(1); }",
        );
        assert_accepts(unnamed_capacities, "daemon/tests/api.rs", "fn f() { mpsc::channel(8); }");
    }

    #[test]
    fn a_machine_path_is_rejected() {
        for path in MACHINE_PATHS {
            assert_rejects(machine_paths, "README.md", &format!("see `{path}x`"));
        }
    }

    #[test]
    fn a_longer_path_with_the_same_part_is_accepted() {
        for path in MACHINE_PATHS {
            assert_accepts(machine_paths, "README.md", &format!("~{path}x /home/me{path}x"));
        }
    }

    #[test]
    fn open_work_is_rejected() {
        for mark in LEFT_OPEN {
            assert_rejects(left_open, "daemon/src/app.rs", &format!("// {mark}: later"));
        }
    }

    #[track_caller]
    fn assert_rejects(rule: Rule, path: &str, text: &str) {
        assert_eq!(rule(&[File::planted(path, text)]).len(), 1, "not rejected in {path}:\n{text}");
    }

    #[track_caller]
    fn assert_accepts(rule: Rule, path: &str, text: &str) {
        assert_eq!(rule(&[File::planted(path, text)]), []);
    }
}
