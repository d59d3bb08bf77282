//! How a tunnel is, in one paragraph: what is true, what happened, what comes next.

use std::time::Duration;

use stormtunnel_model::{
    Event, EventKind, FaultKind, Intent, Principal, Recovery, RemoteHealth, Timestamp, Tunnel, TunnelState,
    TunnelStatus,
};

use super::{Style, address, details, events, times, via};
use crate::exit::Problem;

/// How long a broken connection may stay unnoticed: until a ping is answered with silence.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// How long what happened to the machine may be told after a connection that broke of it: bursts are waited out.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Breaks within this time ...
const LATELY: Duration = Duration::from_secs(3600);
/// ... are counted out from this many on.
const MANY: usize = 3;

/// The explanation of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The paragraph.
    pub summary: String,
    /// What a person can do; empty when there is nothing.
    pub remedy: String,
    /// Since when it has not been up, if that is not wanted so and the events tell.
    pub not_up_since: Option<Timestamp>,
}

/// Explains a tunnel with its last events, oldest first.
pub fn explain(tunnel: &Tunnel, history: &[Event], now: Timestamp) -> Explanation {
    let not_up_since = not_up_since(tunnel, history);
    let remedy = remedy(tunnel);
    let mut sentences = vec![present(tunnel, history, now)];
    if let Some(since) = not_up_since {
        let cause = cause(history, since);
        sentences.push(format!("It has not been up since {}{cause}.", times::stamp(since)));
    }
    sentences.extend(last_break(tunnel, history));
    sentences.extend(last_session(tunnel, history));
    sentences.extend(troubles(tunnel));
    if let Some(end) = tunnel.terms.stops_at {
        let left = times::span(end.since(now));
        sentences.push(format!("It stops by itself at {}, in {left}.", times::stamp(end)));
    }
    let often = often(tunnel, history, now).filter(|_| remedy.is_empty());
    sentences.push(often.unwrap_or_else(|| next(tunnel, &remedy, now)));
    Explanation { summary: sentences.join(" "), remedy, not_up_since }
}

/// The paragraph and the events behind it.
pub fn text(explanation: &Explanation, history: &[Event], style: Style) -> String {
    let lines: String =
        history.iter().map(|event| format!("  {}", events::line(event, false, style))).collect();
    let heading = if lines.is_empty() { "" } else { "\nLast events:\n" };
    format!("{}\n{heading}{lines}", explanation.summary)
}

fn present(tunnel: &Tunnel, history: &[Event], now: Timestamp) -> String {
    let (name, status) = (&tunnel.spec.name, &tunnel.status);
    let since =
        format!("for {} (since {})", times::span(now.since(status.since)), times::stamp(status.since));
    let way = || format!("{} leads to {} via {}", address(tunnel), tunnel.spec.remote, via(tunnel));
    match &status.state {
        TunnelState::Up => {
            format!("{name} has been up {since}: {}{}.", way(), sessions(status))
        }
        TunnelState::Idle => {
            format!("{name} has been ready {since}: {}; the next connection starts a session.", way())
        }
        TunnelState::Connecting { step } => {
            let step = details::step_words(*step);
            format!("{name} has been connecting {since}, attempt {}: it is {step}.", status.attempt.0)
        }
        TunnelState::Retrying { fault, .. } => {
            let attempts = if status.attempt.0 == 1 { "attempt" } else { "attempts" };
            format!("{name} has been retrying {since} after {} {attempts}: {fault}.", status.attempt.0)
        }
        TunnelState::Blocked { fault } => format!("{name} has been blocked {since}: {fault}."),
        TunnelState::Stopped => match tunnel.intent {
            Intent::Stop if was_ended(history) => {
                format!("{name} has been stopped {since}, because its time (ttl) was over.")
            }
            Intent::Stop => format!("{name} has been stopped {since}, as it was asked to."),
            Intent::Run => format!("{name} is stopped and about to start."),
        },
        TunnelState::Stopping => format!("{name} has been stopping {since}: its session is being ended."),
    }
}

/// In which sessions, and who opened them.
fn sessions(status: &TunnelStatus) -> String {
    let Some(main) = &status.session else { return String::new() };
    let opened: Vec<&str> = details::principals(status).into_iter().map(Principal::as_str).collect();
    let opened =
        if opened.is_empty() { String::new() } else { format!(", opened by {}", opened.join(" and ")) };
    match status.sessions.len() {
        0 | 1 => format!(", in session {main}{opened}"),
        count => {
            let used = status.sessions.iter().filter(|session| session.connections > 0).count();
            format!(", over {count} sessions ({used} in use), the main one {main}{opened}")
        }
    }
}

/// Whether nobody stopped it but its time.
fn was_ended(history: &[Event]) -> bool {
    let decides = |event: &&Event| matches!(event.kind, EventKind::TtlOver | EventKind::IntentChanged { .. });
    history.iter().rfind(decides).is_some_and(|event| event.kind == EventKind::TtlOver)
}

/// When it left Up, for a tunnel that should be there.
fn not_up_since(tunnel: &Tunnel, history: &[Event]) -> Option<Timestamp> {
    let is_up = matches!(tunnel.status.state, TunnelState::Up | TunnelState::Idle);
    if is_up || tunnel.intent == Intent::Stop {
        return None;
    }
    let last_up = history.iter().rposition(|event| matches!(event.kind, EventKind::Up { .. }))?;
    history.get(last_up + 1..)?.iter().find(|event| leaves_up(&event.kind)).map(|event| event.at)
}

/// Whether a tunnel that was up is not any more. Sessions beside the main one come and go while it is.
fn leaves_up(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Connecting { .. }
            | EventKind::Retrying { .. }
            | EventKind::Blocked { .. }
            | EventKind::Idle
            | EventKind::Stopped
            | EventKind::Restarted
            | EventKind::DaemonStarted
    )
}

/// What happened to the machine shortly before something broke, or was noticed shortly after it.
fn cause(history: &[Event], broke: Timestamp) -> String {
    let is_near =
        |event: &Event| broke.since(event.at) <= NOTICED_WITHIN && event.at.since(broke) <= TOLD_WITHIN;
    let near = |is_cause: fn(&EventKind) -> bool| {
        history.iter().rev().find(|event| is_near(event) && is_cause(&event.kind))
    };
    // A sleep explains the others.
    let likely = near(|kind| matches!(kind, EventKind::Woke { .. }))
        .or_else(|| near(|kind| *kind == EventKind::NetworkChanged))
        .or_else(|| near(|kind| matches!(kind, EventKind::ClockJumped { .. })));
    likely.map(|event| format!(", when {}", events::words(&event.kind))).unwrap_or_default()
}

/// What a tunnel that is up again went through last.
fn last_break(tunnel: &Tunnel, history: &[Event]) -> Option<String> {
    if tunnel.status.state != TunnelState::Up {
        return None;
    }
    let broke = history.iter().rev().find(|event| is_break(event))?;
    let (at, fault) = (broke.at, broke.kind.fault()?);
    let up_again = history.iter().find(|event| event.at >= at && matches!(event.kind, EventKind::Up { .. }));
    let took = up_again.map(|event| format!("; {} later it was up again", times::span(event.at.since(at))));
    let (stamp, cause, took) = (times::stamp(at), cause(history, at), took.unwrap_or_default());
    Some(format!("Its connection broke last at {stamp}{cause}: {fault}{took}."))
}

fn is_break(event: &Event) -> bool {
    matches!(event.kind, EventKind::Connecting { fault: Some(_), .. })
}

/// A path that breaks again and again is worth a look, even if each time it is mended in seconds.
fn often(tunnel: &Tunnel, history: &[Event], now: Timestamp) -> Option<String> {
    let of_network = |event: &&Event| {
        let fault = event.kind.fault().filter(|_| is_break(event));
        fault.is_some_and(|fault| fault.kind == FaultKind::Network)
    };
    let lately = history.iter().filter(of_network).filter(|event| now.since(event.at) <= LATELY).count();
    let hint = "the tunnel mends itself, but the network or VPN in between is worth a look";
    let is_often = tunnel.status.state == TunnelState::Up && lately >= MANY;
    is_often.then(|| format!("It broke {lately} times in the last hour: {hint}."))
}

/// What became of the session of a tunnel that needs none now.
fn last_session(tunnel: &Tunnel, history: &[Event]) -> Option<String> {
    if tunnel.status.state != TunnelState::Idle {
        return None;
    }
    let ended = history.iter().rev().find(|event| matches!(event.kind, EventKind::SessionEnded { .. }))?;
    let EventKind::SessionEnded { fault, traffic, lasted } = &ended.kind else { return None };
    let (sent, received) = (times::bytes(traffic.sent), times::bytes(traffic.received));
    let why = fault.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default();
    let (at, lasted) = (times::stamp(ended.at), times::span(*lasted));
    Some(format!("Its last session ended at {at} after {lasted}, {sent} sent and {received} received{why}."))
}

/// What goes wrong although the tunnel itself is well.
fn troubles(tunnel: &Tunnel) -> Vec<String> {
    let mut troubles = Vec::new();
    if tunnel.status.remote == RemoteHealth::Refused {
        let remote = &tunnel.spec.remote;
        troubles.push(format!("The last connection was refused: nothing listens on {remote}."));
    }
    if let Some(limit) = tunnel.status.limit {
        troubles.push(format!("Downloads are slow: {}.", details::limit_sentence(limit)));
    }
    troubles
}

/// What a person can do about the fault that counts.
fn remedy(tunnel: &Tunnel) -> String {
    let refused = tunnel.status.remote == RemoteHealth::Refused;
    let last = tunnel.status.last_fault.as_ref().filter(|_| refused);
    let fault = tunnel.status.state.fault().or(last);
    fault.map(|fault| Problem::of_tunnel(fault, tunnel).remedy).unwrap_or_default()
}

fn next(tunnel: &Tunnel, remedy: &str, now: Timestamp) -> String {
    let name = &tunnel.spec.name;
    let to_do = |remedy: &str| format!("What to do: {remedy}.");
    match &tunnel.status.state {
        TunnelState::Up | TunnelState::Idle if remedy.is_empty() => "There is nothing to do.".to_owned(),
        TunnelState::Up | TunnelState::Idle => to_do(remedy),
        TunnelState::Connecting { .. } => match tunnel.status.turn_at {
            Some(at) => {
                let wait = times::span(at.since(now));
                format!("Its turn to start a session is in {wait}, by itself; a connection to it goes first.")
            }
            None => "It goes on by itself.".to_owned(),
        },
        TunnelState::Retrying { at, .. } => {
            let wait = times::span(at.since(now));
            format!("The next try is in {wait}, by itself. {}", to_do(remedy))
        }
        TunnelState::Blocked { fault } => match fault.recovery() {
            Recovery::SignIn => to_do(remedy),
            // Looked at again and again, as the remedy says.
            Recovery::FixByUser if matches!(fault.kind, FaultKind::PortInUse { .. }) => to_do(remedy),
            Recovery::FixByUser | Recovery::Retry => {
                format!("It is not tried again until somebody acts. {}", to_do(remedy))
            }
        },
        TunnelState::Stopped if tunnel.intent == Intent::Stop => format!("`stctl up {name}` starts it."),
        TunnelState::Stopped => "It goes on by itself.".to_owned(),
        TunnelState::Stopping => "It will be stopped in a moment.".to_owned(),
    }
}
