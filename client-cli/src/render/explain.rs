//! How a tunnel is, in one paragraph: what is true, what happened, what comes next.

use stormtunnel_model::{Event, EventKind, Intent, Recovery, RemoteHealth, Timestamp, Tunnel, TunnelState};

use super::{Style, address, details, events, times, via};
use crate::exit::Problem;

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
        sentences.push(format!("It has not been up since {}.", times::stamp(since)));
    }
    sentences.extend(last_break(tunnel, history));
    sentences.extend(troubles(tunnel));
    if let Some(end) = tunnel.terms.stops_at {
        let left = times::span(end.since(now));
        sentences.push(format!("It stops by itself at {}, in {left}.", times::stamp(end)));
    }
    sentences.push(next(tunnel, &remedy, now));
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
            let session = status.session.as_ref().map(|session| format!(", in session {session}"));
            format!("{name} has been up {since}: {}{}.", way(), session.unwrap_or_default())
        }
        TunnelState::Idle => {
            format!("{name} has been ready {since}: {}; the next connection starts a session.", way())
        }
        TunnelState::Connecting { step } => {
            let step = details::step_words(*step);
            format!("{name} has been connecting {since}, attempt {}: it is {step}.", status.attempt.0)
        }
        TunnelState::Retrying { fault, .. } => {
            format!("{name} has been retrying {since} after {} attempts: {fault}.", status.attempt.0)
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
    let of_tunnel = |event: &&Event| event.subject.is_some() || event.kind == EventKind::DaemonStarted;
    history.get(last_up + 1..)?.iter().find(of_tunnel).map(|event| event.at)
}

/// What a tunnel that is up again went through last.
fn last_break(tunnel: &Tunnel, history: &[Event]) -> Option<String> {
    if tunnel.status.state != TunnelState::Up {
        return None;
    }
    let broke = |event: &Event| matches!(event.kind, EventKind::Connecting { fault: Some(_), .. });
    let (at, fault) =
        history.iter().rev().find(|event| broke(event)).map(|event| (event.at, event.kind.fault()))?;
    let fault = fault?;
    let up_again = history.iter().find(|event| event.at >= at && matches!(event.kind, EventKind::Up { .. }));
    let took = up_again.map(|event| format!("; {} later it was up again", times::span(event.at.since(at))));
    Some(format!("Its connection broke last at {}: {fault}{}.", times::stamp(at), took.unwrap_or_default()))
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
        TunnelState::Connecting { .. } => "It goes on by itself.".to_owned(),
        TunnelState::Retrying { at, .. } => {
            let wait = times::span(at.since(now));
            format!("The next try is in {wait}, by itself. {}", to_do(remedy))
        }
        TunnelState::Blocked { fault } => match fault.recovery() {
            Recovery::SignIn => to_do(remedy),
            Recovery::FixByUser | Recovery::Retry => {
                format!("It is not tried again until somebody acts. {}", to_do(remedy))
            }
        },
        TunnelState::Stopped if tunnel.intent == Intent::Stop => format!("`stctl up {name}` starts it."),
        TunnelState::Stopped => "It goes on by itself.".to_owned(),
        TunnelState::Stopping => "It will be stopped in a moment.".to_owned(),
    }
}
