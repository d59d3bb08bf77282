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

/// What an installation fills in. The daemon is a program that exists, since `systemd-analyze` looks for it.
const VALUES: &[(&str, &str)] = &[
    ("STORMTUNNELD", "/bin/true"),
    ("SOCKET", "/run/user/1000/stormtunnel/daemon.sock"),
    ("STATE_DIR", "/home/u/.local/state/stormtunnel"),
    ("CONFIG", "/home/u/.config/stormtunnel/settings.toml"),
    ("LOG", "/home/u/.local/state/stormtunnel/stormtunneld.log"),
];

#[test]
fn the_launch_agent_has_exactly_these_keys() {
    let files = || dictionary([("NumberOfFiles", integer(16384))]);
    let arguments = [
        value("STORMTUNNELD"),
        "--socket",
        value("SOCKET"),
        "--state-dir",
        value("STATE_DIR"),
        "--config",
        value("CONFIG"),
        "--log-to-file",
    ];
    let socket =
        dictionary([("SockPathName", Value::from(value("SOCKET"))), ("SockPathMode", integer(0o600))]);
    let expected = dictionary([
        ("Label", Value::from("io.stormtunnel.stormtunneld")),
        ("ProgramArguments", Value::Array(arguments.map(Value::from).into())),
        ("Sockets", dictionary([("api", socket)])),
        ("RunAtLoad", Value::from(true)),
        ("KeepAlive", dictionary([("SuccessfulExit", Value::from(false))])),
        ("ThrottleInterval", integer(10)),
        ("ExitTimeOut", integer(30)),
        ("ProcessType", Value::from("Background")),
        ("LimitLoadToSessionType", Value::from("Aqua")),
        ("SoftResourceLimits", files()),
        ("HardResourceLimits", files()),
        ("Umask", integer(0o077)),
        ("StandardOutPath", Value::from("/dev/null")),
        ("StandardErrorPath", Value::from(value("LOG"))),
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
    let command = format!(
        "{} --socket {} --state-dir {} --config {}",
        value("STORMTUNNELD"),
        value("SOCKET"),
        value("STATE_DIR"),
        value("CONFIG")
    );
    let expected = [
        ("Unit", "Description", "StormTunnel: AWS Session Manager tunnels"),
        ("Unit", "Documentation", "https://github.com/stormtunnel/stormtunnel"),
        ("Unit", "Requires", "stormtunneld.socket"),
        ("Unit", "After", "stormtunneld.socket"),
        ("Unit", "StartLimitIntervalSec", "60"),
        ("Unit", "StartLimitBurst", "5"),
        ("Service", "Type", "notify"),
        ("Service", "NotifyAccess", "main"),
        ("Service", "ExecStart", &command),
        ("Service", "Restart", "on-failure"),
        ("Service", "RestartSec", "250ms"),
        ("Service", "WatchdogSec", "60"),
        ("Service", "FileDescriptorStoreMax", "8192"),
        ("Service", "TimeoutStopSec", "30"),
        ("Service", "KillMode", "process"),
        ("Service", "UMask", "0077"),
        ("Service", "LimitNOFILE", "16384"),
        ("Service", "LimitCORE", "0"),
        ("Service", "OOMPolicy", "continue"),
        ("Install", "WantedBy", "default.target"),
    ];
    assert_eq!(unit(&filled("stormtunneld.service")), entries(&expected));
}

#[test]
fn the_socket_unit_has_exactly_these_keys() {
    let expected = [
        ("Unit", "Description", "StormTunnel: socket of the daemon"),
        ("Unit", "Documentation", "https://github.com/stormtunnel/stormtunnel"),
        ("Socket", "ListenStream", value("SOCKET")),
        ("Socket", "FileDescriptorName", "api"),
        ("Socket", "SocketMode", "0600"),
        ("Socket", "DirectoryMode", "0700"),
        ("Socket", "RemoveOnStop", "yes"),
        ("Install", "WantedBy", "sockets.target"),
    ];
    assert_eq!(unit(&filled("stormtunneld.socket")), entries(&expected));
}

#[test]
fn systemd_accepts_the_units() {
    for name in ["stormtunneld.service", "stormtunneld.socket"] {
        let Some(output) = systemd_verify(name, str::to_owned) else { return };
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{name}: {complaints}");
    }
}

#[test]
fn systemd_rejects_a_planted_mistake() {
    for (name, right, wrong) in [
        ("stormtunneld.service", "RestartSec=250ms", "RestartSeconds=250ms"),
        ("stormtunneld.socket", "FileDescriptorName=", "DescriptorName="),
    ] {
        let Some(output) = systemd_verify(name, |text| text.replace(right, wrong)) else { return };
        let complaints = String::from_utf8_lossy(&output.stderr);
        let word = wrong.split('=').next().expect("a key");
        assert!(complaints.contains(word), "{wrong}: {complaints}");
    }
}

/// What `systemd-analyze verify` says of a unit that was changed so, beside the others. `None`, with a line that says so, on a machine without
/// systemd; with `REQUIRE_ALL` set that is a failure.
fn systemd_verify(name: &str, change: impl Fn(&str) -> String) -> Option<Output> {
    let directory = tempfile::tempdir().expect("a directory for the units");
    for other in ["stormtunneld.service", "stormtunneld.socket"] {
        let text = filled(other);
        let text = if other == name { change(&text) } else { text };
        std::fs::write(directory.path().join(other), text).expect("the unit can be written");
    }
    let path = directory.path().join(name);
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
    let filled = VALUES.iter().fold(text, |text, (name, value)| text.replace(&format!("@{name}@"), value));
    let values = filled.lines().filter(|line| !line.starts_with("<!--") && !line.starts_with('#'));
    assert_eq!(values.filter(|line| line.contains('@')).count(), 0, "a placeholder is left in {name}");
    filled
}

fn value(name: &str) -> &'static str {
    VALUES.iter().find(|(known, _)| *known == name).expect("an installation fills it in").1
}

fn entries(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    expected
        .iter()
        .map(|(section, key, value)| (section.to_string(), key.to_string(), value.to_string()))
        .collect()
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
