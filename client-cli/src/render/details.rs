//! One tunnel, or the daemon, with everything that is known.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use stormtunnel_model::{
    ConnectStep, Intent, Keep, LabelKey, LabelValue, Principal, RemoteHealth, ResolvedTarget, SessionCount,
    SessionStatus, Timestamp, Tunnel, TunnelLimit, TunnelState, TunnelStatus,
};
use stormtunnel_proto::calls::DaemonInfo;

use super::views::{AbsentDaemonView, DaemonView, ServiceView};
use super::{Style, Tone, address, times, via};
use crate::exit::Problem;

/// Columns before the values.
pub(crate) const INDENT: usize = 14;

/// How a tunnel is.
pub fn status(tunnel: &Tunnel, now: Timestamp, style: Style) -> String {
    let mut text = headline(tunnel, now, style);
    state_rows(&mut text, tunnel, now);
    if let Some(fault) = tunnel.status.state.fault() {
        let problem = Problem::of_tunnel(fault, tunnel);
        row(&mut text, "why", &fault.to_string());
        row(&mut text, "fix", &problem.remedy);
    }
    text
}

/// A tunnel, whole: what it is to be and how it is.
pub fn tunnel(tunnel: &Tunnel, now: Timestamp, style: Style) -> String {
    let mut text = status(tunnel, now, style);
    let spec = &tunnel.spec;
    row(
        &mut text,
        "profile",
        spec.profile.as_ref().map_or("(the daemon's default)", |profile| profile.as_str()),
    );
    row(&mut text, "region", spec.region.as_ref().map_or("(the profile's)", |region| region.as_str()));
    row(
        &mut text,
        "wanted",
        match tunnel.intent {
            Intent::Run => "running",
            Intent::Stop => "stopped",
        },
    );
    if spec.keep != Keep::Auto {
        row(&mut text, "keep", spec.keep.name());
    }
    if spec.sessions != SessionCount::ONE {
        row(&mut text, "sessions", &format!("up to {}", spec.sessions));
    }
    let defaults = [
        spec.ttl.map(|ttl| format!("it stops after {ttl}")),
        spec.reason.as_ref().map(|reason| format!("reason \"{reason}\"")),
    ];
    let defaults: Vec<String> = defaults.into_iter().flatten().collect();
    if !defaults.is_empty() {
        row(&mut text, "at a start", &defaults.join(", "));
    }
    if !spec.labels.is_empty() {
        let label = |(key, value): (&LabelKey, &LabelValue)| format!("{key}={value}");
        row(&mut text, "labels", &spec.labels.iter().map(label).collect::<Vec<_>>().join(" "));
    }
    row(&mut text, "id", &tunnel.id.to_string());
    row(&mut text, "created", &times::rfc3339(tunnel.created_at));
    text
}

/// The daemon.
pub fn daemon(info: &DaemonInfo, view: &DaemonView, now: Timestamp, style: Style) -> String {
    let running = style.paint("running", Tone::Good);
    let build = info.build.as_ref().map(|build| format!(" ({build})")).unwrap_or_default();
    let mut text = format!("stormtunneld {}{build} is {running}\n", info.version);
    row(&mut text, "process", &format!("pid {}, up {}", info.pid, times::span(now.since(info.started_at))));
    row(&mut text, "api", &format!("level {}", info.api_level));
    if let Some(program) = &info.program {
        row(&mut text, "program", program);
    }
    row(&mut text, "socket", &view.socket);
    row(&mut text, "state", &info.state_directory);
    row(&mut text, "settings", &view.settings_path);
    row(&mut text, "service", &service(&view.service));
    row(&mut text, "log", info.log_path.as_deref().unwrap_or(NO_LOG_FILE));
    for warning in &info.warnings {
        row(&mut text, "warning", warning);
    }
    text
}

/// A daemon that is not there, and what is known of it.
pub(crate) fn absent_daemon(view: &AbsentDaemonView) -> String {
    let mut text = "stormtunneld is not running\n".to_owned();
    row(&mut text, "socket", &view.socket);
    row(&mut text, "service", &service(&view.service));
    if let Some(log) = &view.log_path {
        row(&mut text, "log", log);
    }
    text
}

const NO_LOG_FILE: &str = "standard error of the daemon (of a service: `stctl daemon logs`)";

fn service(view: &ServiceView) -> String {
    if !view.installed {
        return "not installed (`stctl daemon install`)".to_owned();
    }
    let word = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
    let enabled = word(view.enabled, "enabled", "not enabled");
    let active = word(view.active, "active", "not active");
    format!("{}, installed, {enabled}, {active}", view.manager)
}

fn headline(tunnel: &Tunnel, now: Timestamp, style: Style) -> String {
    let state = &tunnel.status.state;
    let label = style.paint(state.label(), Tone::of(state));
    let step = match state {
        TunnelState::Connecting { step } => format!(" ({})", step_words(*step)),
        TunnelState::Stopped
        | TunnelState::Up
        | TunnelState::Idle
        | TunnelState::Retrying { .. }
        | TunnelState::Blocked { .. }
        | TunnelState::Stopping => String::new(),
    };
    let since = times::span(now.since(tunnel.status.since));
    format!("{}: {label}{step} for {since}\n", tunnel.spec.name)
}

/// What is being done on the way up.
pub(super) fn step_words(step: ConnectStep) -> &'static str {
    match step {
        ConnectStep::Listener => "opening the local port",
        ConnectStep::Session => "asking Session Manager for a session",
        ConnectStep::Channel => "opening the data channel",
        ConnectStep::Resume => "resuming the session",
        ConnectStep::Other => "on the way up",
    }
}

fn state_rows(text: &mut String, tunnel: &Tunnel, now: Timestamp) {
    let status = &tunnel.status;
    let listening: Vec<String> = status.listening.iter().map(ToString::to_string).collect();
    let local = match listening.as_slice() {
        [] => format!("{} (closed)", address(tunnel)),
        [same] if *same == address(tunnel) => format!("{same} (open)"),
        bound => format!("{} ({})", address(tunnel), bound.join(", ")),
    };
    row(text, "local", &local);
    if tunnel.spec.local.is_open_to_network() {
        row(text, "open to", "other machines (--allow-non-loopback)");
    }
    let health = match status.remote {
        RemoteHealth::Unknown => "",
        RemoteHealth::Ok => "; accepts connections",
        RemoteHealth::Refused => "; refused the last connection",
    };
    row(text, "remote", &format!("{} via {}{health}", tunnel.spec.remote, via(tunnel)));
    if let Some(end) = tunnel.terms.stops_at {
        row(text, "stops at", &format!("{} (in {})", times::stamp(end), times::span(end.since(now))));
    }
    if let Some(reason) = &tunnel.terms.reason {
        row(text, "reason", reason.as_str());
    }
    session_rows(text, status, now);
    if status.state != TunnelState::Stopped {
        let (sent, received) = (times::bytes(status.traffic.sent), times::bytes(status.traffic.received));
        row(
            text,
            "traffic",
            &format!("{}, {sent} sent, {received} received", connections(status.connections)),
        );
        row(text, "attempt", &status.attempt.0.to_string());
    }
    if let TunnelState::Retrying { at, .. } = &status.state {
        row(text, "retry", &format!("in {}", times::span(at.since(now))));
    }
    if let Some(at) = status.turn_at {
        let turn = format!(
            "in {} to start a session: tunnels take turns, for AWS limits the rate",
            times::span(at.since(now))
        );
        row(text, "turn", &turn);
    }
    if let Some(limit) = status.limit {
        row(text, "limit", &limit_sentence(limit));
    }
    if let (None, Some(fault)) = (status.state.fault(), &status.last_fault) {
        row(text, "last fault", &fault.to_string());
    }
}

/// The session in use with its agent; several with what each carries.
fn session_rows(text: &mut String, status: &TunnelStatus, now: Timestamp) {
    let Some(main) = &status.session else { return };
    let agent = status.agent_version.as_ref().map(|version| format!(", agent {version}")).unwrap_or_default();
    let span = |session: &SessionStatus| format!(" for {}", times::span(now.since(session.since)));
    match status.sessions.as_slice() {
        several @ [_, _, ..] => {
            for session in several {
                let agent = if session.id == *main { agent.as_str() } else { "" };
                let carried = carried(session, status.node.as_ref());
                row(text, "session", &format!("{}{}{agent}: {carried}", session.id, span(session)));
            }
        }
        one => row(text, "session", &format!("{main}{}{agent}", one.first().map(span).unwrap_or_default())),
    }
    for principal in principals(status) {
        row(text, "opened by", principal.as_str());
    }
}

fn carried(session: &SessionStatus, usual: Option<&ResolvedTarget>) -> String {
    let node = Some(&session.node).filter(|node| Some(*node) != usual);
    let node = node.map(|node| format!(", via {node}")).unwrap_or_default();
    let (sent, received) = (times::bytes(session.traffic.sent), times::bytes(session.traffic.received));
    format!("{}, {sent} sent, {received} received{node}", connections(session.connections))
}

/// Who opened the sessions that are open; nearly always one.
pub(super) fn principals(status: &TunnelStatus) -> BTreeSet<&Principal> {
    status.sessions.iter().filter_map(|session| session.principal.as_ref()).collect()
}

fn connections(count: u32) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

/// What holds transfers up.
pub(super) fn limit_sentence(limit: TunnelLimit) -> String {
    match limit {
        TunnelLimit::AgentResend { waiting_bytes } => format!(
            "messages were lost, and the SSM agent resends one per 100 ms; {} wait behind them",
            times::bytes(waiting_bytes)
        ),
    }
}

pub(super) fn row(text: &mut String, key: &str, value: &str) {
    let written = writeln!(text, "  {key:<10}  {value}");
    debug_assert!(written.is_ok(), "a string takes everything");
}
