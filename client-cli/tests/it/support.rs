//! Runs command lines in a world of their own, and makes tunnels to show.

use std::path::Path;
use std::time::Duration;

use stctl::world::{Answer, Environment, Terminal, World};

use crate::system::System;
use stormtunnel_model::{
    Attempt, BoundAddress, Etag, ExitCode, Intent, LocalEndpoint, RemoteHealth, RunTerms, SessionStatus,
    SsmSessionId, Timestamp, Traffic, Tunnel, TunnelId, TunnelSpec, TunnelState, TunnelStatus,
};

/// What a command line left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Everything at once, for snapshots.
    pub(crate) fn shown(&self) -> String {
        format!("{}--- standard error\n{}--- exit code {}\n", self.out, self.err, self.code)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `stctl LINE` with this socket, in a terminal of 80 columns without colours.
pub(crate) async fn stctl(socket: &Path, line: &str) -> Ran {
    stctl_with(socket, &[], line).await
}

/// The same, with all the time that the command takes by itself.
pub(crate) async fn patient(socket: &Path, line: &str) -> Ran {
    within(Duration::from_secs(300), socket, &[], line, None).await
}

/// Runs `stctl LINE` with these variables; no daemon is started unless `STCTL_DAEMON` names one.
pub(crate) async fn stctl_with(socket: &Path, variables: &[(&str, &str)], line: &str) -> Ran {
    within(Duration::from_secs(30), socket, variables, line, None).await
}

/// Runs `stctl LINE` beside somebody who answers each question with this.
pub(crate) async fn asked(socket: &Path, line: &str, answer: Answer) -> Ran {
    asked_with(socket, &[], line, answer).await
}

/// The same with these variables.
pub(crate) async fn asked_with(socket: &Path, variables: &[(&str, &str)], line: &str, answer: Answer) -> Ran {
    within(Duration::from_secs(30), socket, variables, line, Some(answer)).await
}

async fn within(
    limit: Duration,
    socket: &Path,
    variables: &[(&str, &str)],
    line: &str,
    answer: Option<Answer>,
) -> Ran {
    on(&System::default(), limit, socket, variables, line, answer).await
}

/// Runs `stctl LINE` on that system.
pub(crate) async fn on(
    system: &System,
    limit: Duration,
    socket: &Path,
    variables: &[(&str, &str)],
    line: &str,
    answer: Option<Answer>,
) -> Ran {
    // Two quotes are a word of no length, as in a shell.
    let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
    let args = std::iter::once("stctl").chain(words).map(Into::into);
    let starts = variables.iter().any(|(name, _)| *name == "STCTL_DAEMON");
    let own = [
        ("STORMTUNNEL_SOCKET", socket.to_str().unwrap()),
        ("HOME", "/home/u"),
        ("PATH", "/usr/bin:/bin"),
        ("STCTL_NO_AUTOSTART", if starts { "" } else { "1" }),
    ];
    let env: Environment = own.into_iter().chain(variables.iter().copied()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let terminal = Terminal { width: Some(80), out_colour: false, err_colour: false };
    let mut world = World {
        env,
        out: &mut out,
        err: &mut err,
        terminal,
        in_container: false,
        answer,
        clock: now,
        platform: system.platform,
        programs: system,
    };
    let code = tokio::time::timeout(limit, stctl::run(args, &mut world)).await;
    let code: ExitCode = code.expect("the command ends in time");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: code as u8, out: text(out), err: text(err) }
}

/// Five minutes after everything began.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_300_000)
}

fn beginning() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

/// A stopped tunnel to `remote`.
pub(crate) fn stopped(name: &str, remote: &str, local: &str) -> Tunnel {
    let number = name.bytes().fold(0, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_003);
    Tunnel {
        id: TunnelId::new(Timestamp::from_millis(1_700_000_000_000 + number), &[7; 10]),
        etag: Etag(1),
        created_at: beginning(),
        spec: TunnelSpec {
            name: name.parse().unwrap(),
            profile: Some("prod".parse().unwrap()),
            region: Some("eu-west-1".parse().unwrap()),
            target: "i-0abcdef1234567890".parse().unwrap(),
            remote: remote.parse().unwrap(),
            local: local.parse().unwrap(),
            allow_non_loopback: false,
            labels: Default::default(),
            keep: Default::default(),
            sessions: Default::default(),
            reason: None,
            ttl: None,
        },
        intent: Intent::Stop,
        terms: RunTerms::default(),
        status: TunnelStatus::stopped(beginning()),
    }
}

/// A tunnel that runs and is in that state.
pub(crate) fn running(name: &str, remote: &str, local: &str, state: TunnelState) -> Tunnel {
    let mut tunnel = stopped(name, remote, local);
    tunnel.intent = Intent::Run;
    tunnel.status.attempt = Attempt(1);
    tunnel.status.listening = match &tunnel.spec.local {
        LocalEndpoint::Tcp { address, port } => {
            let port = match u16::from(*port) {
                0 => 40_123,
                port => port,
            };
            address.ips().into_iter().map(|ip| BoundAddress::Tcp((ip, port).into())).collect()
        }
        LocalEndpoint::Unix(path) => vec![BoundAddress::Unix(path.clone())],
    };
    if state == TunnelState::Up {
        tunnel.status.session = Some(SsmSessionId("ada-0123456789abcdef0".to_owned()));
        tunnel.status.node = tunnel.spec.target.as_node();
        tunnel.status.sessions = vec![session(&tunnel, "ada-0123456789abcdef0", 2)];
        tunnel.status.agent_version = Some("3.3.1611.0".to_owned());
        tunnel.status.remote = RemoteHealth::Ok;
        tunnel.status.connections = 2;
        tunnel.status.traffic = Traffic { sent: 12_345, received: 4_567_890 };
    }
    tunnel.status.state = state;
    tunnel
}

/// A session of that tunnel with so many connections.
pub(crate) fn session(tunnel: &Tunnel, id: &str, connections: u32) -> SessionStatus {
    SessionStatus {
        id: SsmSessionId(id.to_owned()),
        node: tunnel.spec.target.as_node().unwrap(),
        principal: Some("arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap()),
        since: Timestamp::from_millis(now().as_millis() - 200_000),
        connections,
        traffic: Traffic { sent: 1_234 * u64::from(connections), received: 456_789 * u64::from(connections) },
    }
}
