//! What programs get with `-o json` and `-o yaml`. Field names are those of the API; stable, only added to.

use std::collections::BTreeMap;

use serde::Serialize;
use stormtunnel_model::{
    ConnectStep, Fault, Intent, LocalEndpoint, Recovery, RemoteHealth, Revision, SessionStatus, Ttl, Tunnel,
    TunnelLimit, TunnelSpec, TunnelState,
};
use stormtunnel_proto::calls::{DaemonInfo, SettingState, UpdatedTunnel, WatchEvent, WatchUpdate};

use super::times::rfc3339;
use crate::exit::Problem;
use crate::follow::Settled;

/// A tunnel.
#[derive(Debug, Serialize)]
pub struct TunnelView {
    name: String,
    id: String,
    etag: String,
    created_at: String,
    intent: &'static str,
    /// Why it runs.
    reason: Option<String>,
    /// When it stops by itself.
    stops_at: Option<String>,
    spec: SpecView,
    status: StatusView,
}

#[derive(Debug, Serialize)]
struct SpecView {
    profile: Option<String>,
    region: Option<String>,
    target: String,
    remote: RemoteView,
    local: LocalView,
    allow_non_loopback: bool,
    labels: BTreeMap<String, String>,
    keep: &'static str,
    sessions: u8,
    reason: Option<String>,
    ttl_seconds: Option<u32>,
}

#[derive(Debug, Serialize)]
struct RemoteView {
    host: Option<String>,
    port: u16,
}

#[derive(Debug, Serialize)]
struct LocalView {
    /// Absent for a Unix socket.
    address: Option<String>,
    /// Zero: automatic, or a Unix socket.
    port: u16,
    unix_socket: Option<String>,
}

#[derive(Debug, Serialize)]
struct StatusView {
    state: &'static str,
    step: Option<&'static str>,
    retry_at: Option<String>,
    fault: Option<FaultView>,
    since: String,
    attempt: u64,
    remote: &'static str,
    /// Where to connect to, with the port in use.
    address: String,
    /// Other machines can connect.
    open_to_network: bool,
    listening: Vec<String>,
    session_id: Option<String>,
    /// The node that the session goes through.
    node: Option<String>,
    /// All that are open, the main one first.
    sessions: Vec<SessionView>,
    agent_version: Option<String>,
    connections: u32,
    sent_bytes: u64,
    received_bytes: u64,
    last_fault: Option<FaultView>,
    limit: Option<LimitView>,
    /// When its next StartSession is expected to have its turn.
    turn_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct SessionView {
    id: String,
    node: String,
    principal: Option<String>,
    since: String,
    connections: u32,
    sent_bytes: u64,
    received_bytes: u64,
}

/// A limit, with the figures of its kind.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum LimitView {
    AgentResend { waiting_bytes: u64 },
}

/// A fault.
#[derive(Debug, Serialize)]
pub struct FaultView {
    kind: &'static str,
    headline: String,
    detail: String,
    remedy: String,
    recovery: &'static str,
}

/// A problem.
#[derive(Debug, Serialize)]
pub struct ProblemView {
    kind: String,
    tunnel: Option<String>,
    headline: String,
    detail: String,
    remedy: String,
    note: String,
    exit_code: u8,
}

/// What became of one of several tunnels.
#[derive(Debug, Serialize)]
pub struct ResultView {
    requested: String,
    tunnel: Option<TunnelView>,
    error: Option<ProblemView>,
}

/// What a change of a tunnel did.
#[derive(Debug, Serialize)]
pub struct UpdateView {
    tunnel: TunnelView,
    reconnects: bool,
    rebinds: bool,
}

/// One message of a watch.
#[derive(Debug, Serialize)]
pub struct WatchView {
    event: &'static str,
    revision: RevisionView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnels: Option<Vec<TunnelView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// A revision. The epoch is text: it is larger than what JavaScript's numbers hold.
#[derive(Debug, Serialize)]
pub(super) struct RevisionView {
    epoch: String,
    counter: u64,
}

/// One setting.
#[derive(Debug, Serialize)]
pub struct SettingView {
    key: String,
    value: String,
    default_value: String,
    range: String,
    meaning: String,
    is_set: bool,
}

/// The daemon.
#[derive(Debug, Serialize)]
pub struct DaemonView {
    running: bool,
    version: String,
    build: Option<String>,
    api_level: u32,
    pid: u32,
    program: Option<String>,
    program_replaced: bool,
    started_at: String,
    epoch: String,
    /// The socket that it was reached on.
    pub(crate) socket: String,
    state_directory: String,
    /// The settings file.
    pub(crate) settings_path: String,
    log_path: Option<String>,
    /// The service manager's part.
    pub(crate) service: ServiceView,
    warnings: Vec<String>,
}

/// A daemon that is not there.
#[derive(Debug, Serialize)]
pub(crate) struct AbsentDaemonView {
    /// Always false.
    pub(crate) running: bool,
    /// The socket on which it was looked for.
    pub(crate) socket: String,
    /// The log of the last one in the background, if it is there.
    pub(crate) log_path: Option<String>,
    /// The service manager's part.
    pub(crate) service: ServiceView,
}

/// The daemon as a service.
#[derive(Debug, Serialize)]
pub struct ServiceView {
    /// systemd or launchd.
    pub manager: &'static str,
    /// It is there, for this socket.
    pub installed: bool,
    /// It starts when the user logs in.
    pub enabled: bool,
    /// Its daemon runs.
    pub active: bool,
}

impl TunnelView {
    /// Of a tunnel.
    pub fn of(tunnel: &Tunnel) -> Self {
        Self {
            name: tunnel.spec.name.to_string(),
            id: tunnel.id.to_string(),
            etag: tunnel.etag.0.to_string(),
            created_at: rfc3339(tunnel.created_at),
            intent: match tunnel.intent {
                Intent::Run => "run",
                Intent::Stop => "stop",
            },
            reason: tunnel.terms.reason.as_ref().map(ToString::to_string),
            stops_at: tunnel.terms.stops_at.map(rfc3339),
            spec: SpecView::of(&tunnel.spec),
            status: StatusView::of(tunnel),
        }
    }
}

impl SpecView {
    fn of(spec: &TunnelSpec) -> Self {
        Self {
            profile: spec.profile.as_ref().map(ToString::to_string),
            region: spec.region.as_ref().map(ToString::to_string),
            target: spec.target.to_string(),
            remote: RemoteView { host: spec.remote.host.clone(), port: spec.remote.port.get() },
            local: LocalView::of(&spec.local),
            allow_non_loopback: spec.allow_non_loopback,
            labels: spec.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            keep: spec.keep.name(),
            sessions: spec.sessions.get(),
            reason: spec.reason.as_ref().map(ToString::to_string),
            ttl_seconds: spec.ttl.map(Ttl::as_secs),
        }
    }
}

impl LocalView {
    fn of(local: &LocalEndpoint) -> Self {
        match local {
            LocalEndpoint::Tcp { address, port } => {
                Self { address: Some(address.to_string()), port: (*port).into(), unix_socket: None }
            }
            LocalEndpoint::Unix(path) => Self { address: None, port: 0, unix_socket: Some(path.to_string()) },
        }
    }
}

impl StatusView {
    fn of(tunnel: &Tunnel) -> Self {
        let status = &tunnel.status;
        let (step, retry_at) = match &status.state {
            TunnelState::Connecting { step } => (Some(step_name(*step)), None),
            TunnelState::Retrying { at, .. } => (None, Some(rfc3339(*at))),
            TunnelState::Stopped
            | TunnelState::Up
            | TunnelState::Idle
            | TunnelState::Blocked { .. }
            | TunnelState::Stopping => (None, None),
        };
        Self {
            state: state_name(&status.state),
            step,
            retry_at,
            fault: status.state.fault().map(FaultView::of),
            since: rfc3339(status.since),
            attempt: status.attempt.0,
            remote: match status.remote {
                RemoteHealth::Unknown => "unknown",
                RemoteHealth::Ok => "ok",
                RemoteHealth::Refused => "refused",
            },
            address: super::address(tunnel),
            open_to_network: tunnel.spec.local.is_open_to_network(),
            listening: status.listening.iter().map(ToString::to_string).collect(),
            session_id: status.session.as_ref().map(ToString::to_string),
            node: status.node.as_ref().map(ToString::to_string),
            sessions: status.sessions.iter().map(SessionView::of).collect(),
            agent_version: status.agent_version.clone(),
            connections: status.connections,
            sent_bytes: status.traffic.sent,
            received_bytes: status.traffic.received,
            last_fault: status.last_fault.as_ref().map(FaultView::of),
            limit: status.limit.map(|limit| match limit {
                TunnelLimit::AgentResend { waiting_bytes } => LimitView::AgentResend { waiting_bytes },
            }),
            turn_at: status.turn_at.map(rfc3339),
        }
    }
}

impl RevisionView {
    pub(super) fn of(Revision { epoch, counter }: Revision) -> Self {
        Self { epoch: epoch.0.to_string(), counter }
    }
}

impl SessionView {
    fn of(session: &SessionStatus) -> Self {
        Self {
            id: session.id.to_string(),
            node: session.node.to_string(),
            principal: session.principal.as_ref().map(ToString::to_string),
            since: rfc3339(session.since),
            connections: session.connections,
            sent_bytes: session.traffic.sent,
            received_bytes: session.traffic.received,
        }
    }
}

fn state_name(state: &TunnelState) -> &'static str {
    match state {
        TunnelState::Stopped => "stopped",
        TunnelState::Connecting { .. } => "connecting",
        TunnelState::Up => "up",
        TunnelState::Idle => "idle",
        TunnelState::Retrying { .. } => "retrying",
        TunnelState::Blocked { .. } => "blocked",
        TunnelState::Stopping => "stopping",
    }
}

fn step_name(step: ConnectStep) -> &'static str {
    match step {
        ConnectStep::Listener => "listener",
        ConnectStep::Session => "session",
        ConnectStep::Channel => "channel",
        ConnectStep::Resume => "resume",
        ConnectStep::Other => "other",
    }
}

impl FaultView {
    /// Of a fault.
    pub fn of(fault: &Fault) -> Self {
        Self {
            kind: fault.kind.name(),
            headline: fault.kind.to_string(),
            detail: fault.detail.clone(),
            remedy: fault.kind.remedy().to_owned(),
            recovery: match fault.recovery() {
                Recovery::Retry => "retry",
                Recovery::SignIn => "sign_in",
                Recovery::FixByUser => "fix_by_user",
            },
        }
    }
}

impl ProblemView {
    /// Of a problem.
    pub fn of(problem: &Problem) -> Self {
        let Problem { exit, kind, tunnel, headline, detail, remedy, note } = problem.clone();
        Self { kind, tunnel, headline, detail, remedy, note, exit_code: exit as u8 }
    }
}

impl ResultView {
    pub(crate) fn of(settled: &Settled) -> Self {
        Self {
            requested: settled.requested.clone(),
            tunnel: settled.tunnel().map(TunnelView::of),
            error: settled.problem().as_ref().map(ProblemView::of),
        }
    }
}

impl UpdateView {
    /// Of a change.
    pub fn of(updated: &UpdatedTunnel) -> Self {
        let UpdatedTunnel { tunnel, reconnects, rebinds } = updated;
        Self { tunnel: TunnelView::of(tunnel), reconnects: *reconnects, rebinds: *rebinds }
    }
}

impl WatchView {
    /// Of a message.
    pub fn of(update: &WatchUpdate) -> Self {
        let revision = RevisionView::of(update.revision);
        let empty = Self { event: "resumed", revision, tunnels: None, tunnel: None, id: None, name: None };
        match &update.event {
            WatchEvent::Snapshot(tunnels) => {
                let tunnels = Some(tunnels.iter().map(TunnelView::of).collect());
                Self { event: "snapshot", tunnels, ..empty }
            }
            WatchEvent::Changed(tunnel) => {
                Self { event: "changed", tunnel: Some(TunnelView::of(tunnel)), ..empty }
            }
            WatchEvent::Deleted { id, name } => {
                Self { event: "deleted", id: Some(id.to_string()), name: Some(name.to_string()), ..empty }
            }
            WatchEvent::Resumed => empty,
        }
    }
}

impl SettingView {
    /// Of a setting.
    pub fn of(setting: &SettingState) -> Self {
        let SettingState { key, value, default_value, range, meaning, is_set } = setting.clone();
        Self { key, value, default_value, range, meaning, is_set }
    }
}

impl DaemonView {
    /// Of the daemon that was reached on `socket`.
    pub fn of(info: &DaemonInfo, socket: &str, settings_path: &str, service: ServiceView) -> Self {
        Self {
            running: true,
            version: info.version.clone(),
            build: info.build.clone(),
            api_level: info.api_level,
            pid: info.pid,
            program: info.program.clone(),
            program_replaced: info.program_replaced,
            started_at: rfc3339(info.started_at),
            epoch: info.epoch.0.to_string(),
            socket: socket.to_owned(),
            state_directory: info.state_directory.clone(),
            settings_path: settings_path.to_owned(),
            log_path: info.log_path.clone(),
            service,
            warnings: info.warnings.clone(),
        }
    }
}
