//! One line per event, for `events` and `explain`.

use stormtunnel_model::{Event, EventKind, EventSubject};

use super::{Style, Tone, times};

/// What happened. A wide line ends with where: session, target, region and profile.
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
    let kind = style.paint(&event.kind.to_string(), tone(&event.kind));
    let fault = event.kind.fault().map(|fault| format!(": {fault}")).unwrap_or_default();
    match &event.kind {
        EventKind::SessionStarted | EventKind::SessionResumed => {
            let session = event.subject.as_ref().and_then(|subject| subject.session.as_ref());
            format!("{kind}{}", session.map(|session| format!(" {session}")).unwrap_or_default())
        }
        EventKind::SessionEnded { traffic, .. } => {
            let (sent, received) = (times::bytes(traffic.sent), times::bytes(traffic.received));
            format!("{kind} after {sent} sent, {received} received{fault}")
        }
        EventKind::Up { attempt } | EventKind::Retrying { attempt, .. } if attempt.0 > 1 => {
            format!("{kind} (attempt {}){fault}", attempt.0)
        }
        EventKind::DaemonStarted
        | EventKind::DaemonStopping
        | EventKind::EventsLost { .. }
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

/// Where it happened. The sentences about the begin of a session name it themselves.
fn place(subject: &EventSubject, kind: &EventKind) -> String {
    let named = matches!(kind, EventKind::SessionStarted | EventKind::SessionResumed);
    let session = subject.session.as_ref().filter(|_| !named).map(|session| format!("session {session}"));
    let region = subject.region.as_ref().map(|region| format!("region {region}"));
    let profile = subject.profile.as_ref().map(|profile| format!("profile {profile}"));
    let parts = [session, Some(format!("target {}", subject.target)), region, profile];
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
        EventKind::DaemonStarted
        | EventKind::DaemonStopping
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
