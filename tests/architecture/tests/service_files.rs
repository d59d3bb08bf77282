//! The files in `launchd/` are read as launchd and systemd would read them. Each key is compared: a misspelt
//! one is ignored by both service managers, and so would only be noticed when the daemon does not come back.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a broken expectation is a failed test; a skip is said"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

use plist::{Dictionary, Value};
use stormtunnel_architecture::graph::root;

/// Stands where an installation puts the daemon: a program that exists, since `systemd-analyze` looks for it.
const DAEMON: &str = "/bin/true";
const LOGS: &str = "/var/log";

#[test]
fn the_launch_agent_has_exactly_these_keys() {
    let files = || dictionary([("NumberOfFiles", integer(16384))]);
    let expected = dictionary([
        ("Label", Value::from("io.stormtunnel.stormtunneld")),
        ("ProgramArguments", Value::Array(vec![Value::from(DAEMON)])),
        ("RunAtLoad", Value::from(true)),
        ("KeepAlive", dictionary([("SuccessfulExit", Value::from(false))])),
        ("ThrottleInterval", integer(10)),
        ("ExitTimeOut", integer(30)),
        ("ProcessType", Value::from("Background")),
        ("LimitLoadToSessionType", Value::from("Aqua")),
        ("SoftResourceLimits", files()),
        ("HardResourceLimits", files()),
        ("Umask", integer(0o077)),
        ("StandardOutPath", Value::from("/var/log/stormtunneld.log")),
        ("StandardErrorPath", Value::from("/var/log/stormtunneld.log")),
    ]);
    let text = filled("io.stormtunnel.stormtunneld.plist");
    let agent = Value::from_reader_xml(text.as_bytes()).expect("the template is a property list");
    assert_eq!(agent, expected);
}

#[test]
fn a_file_that_is_no_property_list_is_rejected() {
    let text = filled("io.stormtunnel.stormtunneld.plist").replace("</array>", "");
    assert!(Value::from_reader_xml(text.as_bytes()).is_err());
}

#[test]
fn the_label_is_the_name_of_the_file() {
    assert!(
        filled("io.stormtunnel.stormtunneld.plist").contains("<string>io.stormtunnel.stormtunneld</string>")
    );
}

#[test]
fn the_service_unit_has_exactly_these_keys() {
    let expected = [
        ("Unit", "Description", "StormTunnel: AWS Session Manager tunnels"),
        ("Unit", "Documentation", "https://github.com/stormtunnel/stormtunnel"),
        ("Unit", "StartLimitIntervalSec", "120"),
        ("Unit", "StartLimitBurst", "5"),
        ("Service", "Type", "exec"),
        ("Service", "ExecStart", DAEMON),
        ("Service", "Restart", "on-failure"),
        ("Service", "RestartSec", "2"),
        ("Service", "TimeoutStopSec", "30"),
        ("Service", "KillMode", "process"),
        ("Service", "UMask", "0077"),
        ("Service", "LimitNOFILE", "16384"),
        ("Service", "LimitCORE", "0"),
        ("Service", "OOMPolicy", "continue"),
        ("Install", "WantedBy", "default.target"),
    ];
    let expected =
        expected.map(|(section, key, value)| (section.to_owned(), key.to_owned(), value.to_owned()));
    assert_eq!(unit(&filled("stormtunneld.service")), expected);
}

#[test]
fn systemd_accepts_the_service_unit() {
    let Some(output) = systemd_verify(&filled("stormtunneld.service")) else { return };
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

#[test]
fn systemd_rejects_a_planted_mistake() {
    let mistaken = filled("stormtunneld.service").replace("RestartSec=2", "RestartSeconds=2");
    let Some(output) = systemd_verify(&mistaken) else { return };
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains("RestartSeconds"), "{complaints}");
}

/// What `systemd-analyze verify` says of a unit. `None`, with a line that says so, on a machine without
/// systemd; with `REQUIRE_ALL` set that is a failure.
fn systemd_verify(text: &str) -> Option<Output> {
    let directory = tempfile::tempdir().expect("a directory for the unit");
    let path = directory.path().join("stormtunneld.service");
    std::fs::write(&path, text).expect("the unit can be written");
    // The manager looks for its runtime directory, which a container does not have.
    let output = Command::new("systemd-analyze")
        .args(["--user", "--recursive-errors=no", "verify"])
        .arg(&path)
        .env("XDG_RUNTIME_DIR", directory.path())
        .output();
    match output {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(
                std::env::var_os("REQUIRE_ALL").is_none_or(|value| value.is_empty()),
                "systemd-analyze cannot be run: {error}"
            );
            eprintln!("skipped: systemd-analyze cannot be run: {error}");
            None
        }
    }
}

/// A template as an installation fills it in.
fn filled(name: &str) -> String {
    let text =
        std::fs::read_to_string(root().join(Path::new("launchd").join(name))).expect("the template exists");
    let filled = text.replace("@STORMTUNNELD@", DAEMON).replace("@LOGS@", LOGS);
    let values = filled.lines().filter(|line| !line.starts_with("<!--") && !line.starts_with('#'));
    assert_eq!(values.filter(|line| line.contains('@')).count(), 0, "a placeholder is left in {name}");
    filled
}

/// The lines of a unit file as (section, key, value), in order.
fn unit(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else {
            let (key, value) =
                line.split_once('=').expect("a unit has sections, comments and key=value lines");
            entries.push((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    entries
}

fn dictionary<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries: BTreeMap<_, _> = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Value::Dictionary(entries.into_iter().collect::<Dictionary>())
}

fn integer(value: u64) -> Value {
    Value::from(value)
}
