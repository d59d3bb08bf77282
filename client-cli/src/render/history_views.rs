//! What programs get of the history with `-o json` and `-o yaml`. Field names are those of the API; stable, only added to.

use std::time::Duration;

use serde::Serialize;
use stormtunnel_model::{
    Attempt, Event, EventKind, EventSubject, Intent, ResolvedTarget, Statistics, Traffic, Tunnel,
    TunnelState, TunnelStatistics,
};

use super::explain::Explanation;
use super::times::rfc3339;
use super::views::{FaultView, TunnelView};

/// An event. What its kind does not have is null.
#[derive(Debug, Serialize)]
pub struct EventView {
    id: u64,
    at: String,
    kind: &'static str,
    headline: String,
    tunnel: Option<String>,
    tunnel_id: Option<String>,
    profile: Option<String>,
    region: Option<String>,
    target: Option<String>,
    session_id: Option<String>,
    attempt: Option<u64>,
    intent: Option<&'static str>,
    fields: Option<Vec<String>>,
    count: Option<u64>,
    limit: Option<u64>,
    node: Option<String>,
    principal: Option<String>,
    sent_bytes: Option<u64>,
    received_bytes: Option<u64>,
    lasted_seconds: Option<u64>,
    slept_seconds: Option<u64>,
    dark: Option<bool>,
    by_ms: Option<i64>,
    fault: Option<FaultView>,
}

/// An explanation.
#[derive(Debug, Serialize)]
pub struct ExplanationView {
    summary: String,
    remedy: String,
    not_up_since: Option<String>,
    next_try: Option<String>,
    tunnel: TunnelView,
    events: Vec<EventView>,
}

/// The figures of one tunnel.
#[derive(Debug, Serialize)]
pub struct StatisticsView {
    name: String,
    id: String,
    created_at: String,
    since_created: FiguresView,
    since_started: FiguresView,
}

#[derive(Debug, Serialize)]
struct FiguresView {
    sent_bytes: u64,
    received_bytes: u64,
    connections: u64,
    sessions: u64,
    reconnects: u64,
    uptime_seconds: u64,
}

impl EventView {
    /// Of an event.
    pub fn of(event: &Event) -> Self {
        let subject = event.subject.as_ref();
        let text = |part: fn(&EventSubject) -> Option<String>| subject.and_then(part);
        let (traffic, lasted) = carried(&event.kind).unzip();
        let (slept, dark) = sleep(&event.kind).unzip();
        Self {
            id: event.id.0,
            at: rfc3339(event.at),
            kind: event.kind.name(),
            headline: event.kind.to_string(),
            tunnel: text(|subject| Some(subject.name.to_string())),
            tunnel_id: text(|subject| Some(subject.tunnel.to_string())),
            profile: text(|subject| subject.profile.as_ref().map(ToString::to_string)),
            region: text(|subject| subject.region.as_ref().map(ToString::to_string)),
            target: text(|subject| Some(subject.target.to_string())),
            session_id: text(|subject| subject.session.as_ref().map(ToString::to_string)),
            attempt: attempt(&event.kind).map(|attempt| attempt.0),
            intent: intent(&event.kind),
            fields: if let EventKind::Changed { fields } = &event.kind { Some(fields.clone()) } else { None },
            count: if let EventKind::EventsLost { count } = event.kind { Some(count) } else { None },
            limit: if let EventKind::PayloadReduced { limit } = event.kind { Some(limit) } else { None },
            node: node(event).map(ToString::to_string),
            principal: text(|subject| subject.principal.as_ref().map(ToString::to_string)),
            sent_bytes: traffic.map(|traffic| traffic.sent),
            received_bytes: traffic.map(|traffic| traffic.received),
            lasted_seconds: lasted.map(|lasted| lasted.as_secs()),
            slept_seconds: slept.map(|slept| slept.as_secs()),
            dark,
            by_ms: if let EventKind::ClockJumped { by_ms } = event.kind { Some(by_ms) } else { None },
            fault: event.kind.fault().map(FaultView::of),
        }
    }
}

fn attempt(kind: &EventKind) -> Option<Attempt> {
    if let EventKind::Connecting { attempt, .. }
    | EventKind::Up { attempt }
    | EventKind::Retrying { attempt, .. } = kind
    {
        Some(*attempt)
    } else {
        None
    }
}

fn intent(kind: &EventKind) -> Option<&'static str> {
    let EventKind::IntentChanged { intent } = kind else { return None };
    Some(match intent {
        Intent::Run => "run",
        Intent::Stop => "stop",
    })
}

/// The node that was chosen, else that of the session.
fn node(event: &Event) -> Option<&ResolvedTarget> {
    if let EventKind::NodeChosen { node, .. } = &event.kind {
        return Some(node);
    }
    event.subject.as_ref()?.node.as_ref()
}

/// What a session carried, and in what time.
fn carried(kind: &EventKind) -> Option<(Traffic, Duration)> {
    if let EventKind::SessionEnded { traffic, lasted, .. } = kind { Some((*traffic, *lasted)) } else { None }
}

/// How long the machine slept, and whether it woke for itself.
fn sleep(kind: &EventKind) -> Option<(Duration, bool)> {
    if let EventKind::Woke { slept, dark } = kind { Some((*slept, *dark)) } else { None }
}

impl ExplanationView {
    /// Of a tunnel and its last events.
    pub fn of(explanation: &Explanation, tunnel: &Tunnel, events: &[Event]) -> Self {
        let next_try = match tunnel.status.state {
            TunnelState::Retrying { at, .. } => Some(rfc3339(at)),
            TunnelState::Stopped
            | TunnelState::Connecting { .. }
            | TunnelState::Up
            | TunnelState::Idle
            | TunnelState::Blocked { .. }
            | TunnelState::Stopping => None,
        };
        Self {
            summary: explanation.summary.clone(),
            remedy: explanation.remedy.clone(),
            not_up_since: explanation.not_up_since.map(rfc3339),
            next_try,
            tunnel: TunnelView::of(tunnel),
            events: events.iter().map(EventView::of).collect(),
        }
    }
}

impl StatisticsView {
    /// Of one tunnel.
    pub fn of(statistics: &TunnelStatistics) -> Self {
        Self {
            name: statistics.name.to_string(),
            id: statistics.id.to_string(),
            created_at: rfc3339(statistics.created_at),
            since_created: FiguresView::of(&statistics.since_created),
            since_started: FiguresView::of(&statistics.since_started),
        }
    }
}

impl FiguresView {
    fn of(statistics: &Statistics) -> Self {
        Self {
            sent_bytes: statistics.traffic.sent,
            received_bytes: statistics.traffic.received,
            connections: statistics.connections,
            sessions: statistics.sessions,
            reconnects: statistics.reconnects,
            uptime_seconds: statistics.uptime.as_secs(),
        }
    }
}
