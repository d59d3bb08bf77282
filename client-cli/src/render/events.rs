//! One line per event, for `events` and `explain`.

use std::time::Duration;

use stormtunnel_model::{Event, EventKind, EventSubject, SignInEvent};

use super::{Style, Tone, times};

/// What happened. A wide line ends with where, and on whose behalf: session, target, node, region, profile and principal.
pub fn line(event: &Event, wide: bool, style: Style) -> String {
    let who = event.subject.as_ref().map_or("-", |subject| subject.name.as_str());
    let place = match &event.subject {
        Some(subject) if wide => format!("  [{}]", place(subject, &event.kind)),
        Some(_) | None => String::new(),
    };
    format!("{}  {who}  {}{place}\n", times::stamp(event.at), sentence(event, style))
}

/// What happened, in words, with its fault.
fn sentence(event: &Event, style: Style) -> String {
    let kind = style.paint(&words(&event.kind), tone(&event.kind));
    let fault = event.kind.fault().map(|fault| format!(": {fault}")).unwrap_or_default();
    let session = event.subject.as_ref().and_then(|subject| subject.session.as_ref());
    let session = session.map(|session| format!(" {session}")).unwrap_or_default();
    match &event.kind {
        EventKind::SessionStarted | EventKind::SessionResumed => format!("{kind}{session}"),
        EventKind::SessionEnded { traffic, lasted, .. } => {
            let (sent, received) = (times::bytes(traffic.sent), times::bytes(traffic.received));
            let lasted = times::span(*lasted);
            format!("{kind}{session} after {lasted}, {sent} sent, {received} received{fault}")
        }
        EventKind::Up { attempt } | EventKind::Retrying { attempt, .. } if attempt.0 > 1 => {
            format!("{kind} (attempt {}){fault}", attempt.0)
        }
        EventKind::DaemonStarted
        | EventKind::DaemonStopping
        | EventKind::EventsLost { .. }
        | EventKind::Woke { .. }
        | EventKind::NetworkChanged
        | EventKind::ClockJumped { .. }
        | EventKind::SignIn { .. }
        | EventKind::Created
        | EventKind::Changed { .. }
        | EventKind::Deleted
        | EventKind::IntentChanged { .. }
        | EventKind::TtlOver
        | EventKind::Restarted
        | EventKind::Connecting { .. }
        | EventKind::Up { .. }
        | EventKind::Idle
        | EventKind::Retrying { .. }
        | EventKind::Blocked { .. }
        | EventKind::Stopped
        | EventKind::NodeChosen { .. }
        | EventKind::ConnectionRefused { .. }
        | EventKind::ReaderReset { .. }
        | EventKind::AgentStalled { .. }
        | EventKind::PayloadReduced { .. }
        | EventKind::Unknown { .. } => format!("{kind}{fault}"),
    }
}

/// The kind in words, with spans of time as people read them.
pub(super) fn words(kind: &EventKind) -> String {
    if let EventKind::Woke { slept, dark } = kind {
        let itself = if *dark { " for itself" } else { "" };
        return format!("the machine woke{itself} after {} of sleep", times::span(*slept));
    }
    if let EventKind::ClockJumped { by_ms } = kind
        && by_ms.unsigned_abs() >= 1000
    {
        let direction = if *by_ms < 0 { "back" } else { "forward" };
        let span = times::span(Duration::from_millis(by_ms.unsigned_abs()));
        return format!("the clock was set {direction} by {span}");
    }
    kind.to_string()
}

/// Where it happened. The sentences about a session name it themselves.
fn place(subject: &EventSubject, kind: &EventKind) -> String {
    let named = matches!(
        kind,
        EventKind::SessionStarted | EventKind::SessionResumed | EventKind::SessionEnded { .. }
    );
    let session = subject.session.as_ref().filter(|_| !named).map(|session| format!("session {session}"));
    let node = subject.node.as_ref().filter(|node| node.as_str() != subject.target.as_str());
    let node = node.map(|node| format!("node {node}"));
    let region = subject.region.as_ref().map(|region| format!("region {region}"));
    let profile = subject.profile.as_ref().map(|profile| format!("profile {profile}"));
    let principal = subject.principal.as_ref().map(|principal| format!("principal {principal}"));
    let parts = [session, Some(format!("target {}", subject.target)), node, region, profile, principal];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn tone(kind: &EventKind) -> Tone {
    match kind {
        EventKind::Up { .. } | EventKind::Idle | EventKind::SessionResumed => Tone::Good,
        EventKind::Connecting { .. }
        | EventKind::Retrying { .. }
        | EventKind::ConnectionRefused { .. }
        | EventKind::ReaderReset { .. }
        | EventKind::AgentStalled { .. }
        | EventKind::PayloadReduced { .. }
        | EventKind::SessionEnded { fault: Some(_), .. } => Tone::Moving,
        EventKind::Blocked { .. } | EventKind::EventsLost { .. } => Tone::Bad,
        EventKind::SignIn { event, .. } => match event {
            SignInEvent::SignedIn { .. } => Tone::Good,
            SignInEvent::LoginNeeded { .. } => Tone::Bad,
            SignInEvent::RenewalFailed { .. } => Tone::Moving,
            SignInEvent::SignedOut { .. } | SignInEvent::TokenRenewed { .. } => Tone::Off,
        },
        EventKind::DaemonStarted
        | EventKind::DaemonStopping
        | EventKind::Woke { .. }
        | EventKind::NetworkChanged
        | EventKind::ClockJumped { .. }
        | EventKind::Created
        | EventKind::Changed { .. }
        | EventKind::Deleted
        | EventKind::IntentChanged { .. }
        | EventKind::TtlOver
        | EventKind::Restarted
        | EventKind::Stopped
        | EventKind::NodeChosen { .. }
        | EventKind::SessionStarted
        | EventKind::SessionEnded { fault: None, .. }
        | EventKind::Unknown { .. } => Tone::Off,
    }
}
