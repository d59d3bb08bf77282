//! Events, and the messages of the event service.

use stormtunnel_model::{
    Attempt, Event, EventId, EventKind, EventSubject, Fault, SignInEvent, SsmSessionId, Timestamp,
};

use super::state::parse_intent;
use super::{ConversionError, non_empty, parse_span, parse_timestamp, parsed, required, span, timestamp};
use crate::calls::{EventUpdate, EventWatchUpdate, ListEvents, WatchEvents};
use crate::v1;
use crate::v1::event::{self, Kind};
use crate::v1::watch_events_response::{Resumed, Snapshot, Update};

impl From<Event> for v1::Event {
    fn from(event: Event) -> Self {
        let Event { id, at, subject, kind } = event;
        Self {
            id: id.0,
            at: Some(timestamp(at)),
            subject: subject.map(Into::into),
            headline: kind.to_string(),
            kind: kind_to_message(kind),
        }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = ConversionError;

    /// A kind that this version does not know is kept in the words of the daemon.
    fn try_from(event: v1::Event) -> Result<Self, Self::Error> {
        let v1::Event { id, at, subject, headline, kind } = event;
        let unknown = || Ok(EventKind::Unknown { headline: required("kind", non_empty(headline))? });
        Ok(Self {
            id: EventId(id),
            at: parse_timestamp("at", at)?,
            subject: subject.map(|subject| parsed("subject", Some(subject))).transpose()?,
            kind: kind.map_or_else(unknown, parse_kind)?,
        })
    }
}

impl From<EventSubject> for event::Subject {
    fn from(subject: EventSubject) -> Self {
        let EventSubject { tunnel, name, profile, region, target, session, node, principal } = subject;
        Self {
            tunnel_id: tunnel.to_string(),
            name: name.into(),
            profile: profile.map(Into::into),
            region: region.map(Into::into),
            target: target.into(),
            session_id: session.map(|session| session.0),
            node: node.map(Into::into),
            principal: principal.map(Into::into),
        }
    }
}

impl TryFrom<event::Subject> for EventSubject {
    type Error = ConversionError;

    fn try_from(subject: event::Subject) -> Result<Self, Self::Error> {
        let event::Subject { tunnel_id, name, profile, region, target, session_id, node, principal } =
            subject;
        Ok(Self {
            tunnel: super::tunnels::parse_id(&tunnel_id)?,
            name: name.parse()?,
            profile: profile.map(|text| text.parse()).transpose()?,
            region: region.map(|text| text.parse()).transpose()?,
            target: target.parse()?,
            session: session_id.map(SsmSessionId),
            node: node.map(|text| text.parse()).transpose()?,
            principal: principal.map(|text| text.parse()).transpose()?,
        })
    }
}

fn kind_to_message(kind: EventKind) -> Option<Kind> {
    let one = |fault: Fault| Some(v1::Fault::from(fault));
    Some(match kind {
        EventKind::DaemonStarted => Kind::DaemonStarted(event::DaemonStarted {}),
        EventKind::DaemonStopping => Kind::DaemonStopping(event::DaemonStopping {}),
        EventKind::EventsLost { count } => Kind::EventsLost(event::EventsLost { count }),
        EventKind::Woke { slept, dark } => Kind::Woke(event::Woke { slept: Some(span(slept)), dark }),
        EventKind::NetworkChanged => Kind::NetworkChanged(event::NetworkChanged {}),
        EventKind::ClockJumped { by_ms } => Kind::ClockJumped(event::ClockJumped { by_ms }),
        EventKind::SignIn { sign_in, event } => of_sign_in(sign_in.into(), event),
        EventKind::Created => Kind::Created(event::Created {}),
        EventKind::Changed { fields } => Kind::Changed(event::Changed { fields }),
        EventKind::Deleted => Kind::Deleted(event::Deleted {}),
        EventKind::IntentChanged { intent } => {
            Kind::IntentChanged(event::IntentChanged { intent: v1::Intent::from(intent).into() })
        }
        EventKind::TtlOver => Kind::TtlOver(event::TtlOver {}),
        EventKind::Restarted => Kind::Restarted(event::Restarted {}),
        EventKind::Connecting { attempt, fault } => {
            Kind::Connecting(event::Connecting { attempt: attempt.0, fault: fault.map(Into::into) })
        }
        EventKind::Up { attempt } => Kind::Up(event::Up { attempt: attempt.0 }),
        EventKind::Idle => Kind::Idle(event::Idle {}),
        EventKind::Retrying { attempt, fault } => {
            Kind::Retrying(event::Retrying { attempt: attempt.0, fault: one(fault) })
        }
        EventKind::Blocked { fault } => Kind::Blocked(event::Blocked { fault: one(fault) }),
        EventKind::Stopped => Kind::Stopped(event::Stopped {}),
        EventKind::NodeChosen { node, name, candidates } => {
            Kind::NodeChosen(event::NodeChosen { node: node.into(), name, candidates })
        }
        EventKind::SessionStarted => Kind::SessionStarted(event::SessionStarted {}),
        EventKind::SessionResumed => Kind::SessionResumed(event::SessionResumed {}),
        EventKind::SessionEnded { fault, traffic, lasted } => Kind::SessionEnded(event::SessionEnded {
            fault: fault.map(Into::into),
            traffic: Some(traffic.into()),
            lasted: Some(span(lasted)),
        }),
        EventKind::ConnectionRefused { fault } => {
            Kind::ConnectionRefused(event::ConnectionRefused { fault: one(fault) })
        }
        EventKind::ReaderReset { fault } => Kind::ReaderReset(event::ReaderReset { fault: one(fault) }),
        EventKind::AgentStalled { fault } => Kind::AgentStalled(event::AgentStalled { fault: one(fault) }),
        EventKind::PayloadReduced { limit } => Kind::PayloadReduced(event::PayloadReduced { limit }),
        EventKind::Unknown { .. } => return None,
    })
}

fn of_sign_in(sign_in: String, event: SignInEvent) -> Kind {
    match event {
        SignInEvent::SignedIn { elsewhere } => Kind::SignedIn(event::SignedIn { sign_in, elsewhere }),
        SignInEvent::SignedOut { elsewhere } => Kind::SignedOut(event::SignedOut { sign_in, elsewhere }),
        SignInEvent::LoginNeeded { reason, before } => {
            Kind::LoginNeeded(event::LoginNeeded { sign_in, reason, before: before.map(timestamp) })
        }
        SignInEvent::TokenRenewed { expires_at } => {
            Kind::TokenRenewed(event::TokenRenewed { sign_in, expires_at: Some(timestamp(expires_at)) })
        }
        SignInEvent::RenewalFailed { fault } => {
            Kind::RenewalFailed(event::RenewalFailed { sign_in, fault: Some(fault.into()) })
        }
    }
}

fn parse_kind(kind: Kind) -> Result<EventKind, ConversionError> {
    let one = |fault| parsed("fault", fault);
    let optional = |fault: Option<v1::Fault>| fault.map(|fault| parsed("fault", Some(fault))).transpose();
    Ok(match kind {
        Kind::DaemonStarted(event::DaemonStarted {}) => EventKind::DaemonStarted,
        Kind::DaemonStopping(event::DaemonStopping {}) => EventKind::DaemonStopping,
        Kind::EventsLost(event::EventsLost { count }) => EventKind::EventsLost { count },
        Kind::Woke(event::Woke { slept, dark }) => {
            EventKind::Woke { slept: parse_span("woke.slept", slept)?, dark }
        }
        Kind::NetworkChanged(event::NetworkChanged {}) => EventKind::NetworkChanged,
        Kind::ClockJumped(event::ClockJumped { by_ms }) => EventKind::ClockJumped { by_ms },
        Kind::SignedIn(event::SignedIn { sign_in, elsewhere }) => {
            EventKind::SignIn { sign_in: sign_in.parse()?, event: SignInEvent::SignedIn { elsewhere } }
        }
        Kind::SignedOut(event::SignedOut { sign_in, elsewhere }) => {
            EventKind::SignIn { sign_in: sign_in.parse()?, event: SignInEvent::SignedOut { elsewhere } }
        }
        Kind::LoginNeeded(event::LoginNeeded { sign_in, reason, before }) => {
            let before =
                before.map(|before| parse_timestamp("login_needed.before", Some(before))).transpose()?;
            EventKind::SignIn {
                sign_in: sign_in.parse()?,
                event: SignInEvent::LoginNeeded { reason, before },
            }
        }
        Kind::TokenRenewed(event::TokenRenewed { sign_in, expires_at }) => {
            let expires_at = parse_timestamp("token_renewed.expires_at", expires_at)?;
            EventKind::SignIn { sign_in: sign_in.parse()?, event: SignInEvent::TokenRenewed { expires_at } }
        }
        Kind::RenewalFailed(event::RenewalFailed { sign_in, fault }) => {
            let event = SignInEvent::RenewalFailed { fault: one(fault)? };
            EventKind::SignIn { sign_in: sign_in.parse()?, event }
        }
        Kind::Created(event::Created {}) => EventKind::Created,
        Kind::Changed(event::Changed { fields }) => EventKind::Changed { fields },
        Kind::Deleted(event::Deleted {}) => EventKind::Deleted,
        Kind::IntentChanged(event::IntentChanged { intent }) => {
            EventKind::IntentChanged { intent: parse_intent(intent)? }
        }
        Kind::TtlOver(event::TtlOver {}) => EventKind::TtlOver,
        Kind::Restarted(event::Restarted {}) => EventKind::Restarted,
        Kind::Connecting(event::Connecting { attempt, fault }) => {
            EventKind::Connecting { attempt: Attempt(attempt), fault: optional(fault)? }
        }
        Kind::Up(event::Up { attempt }) => EventKind::Up { attempt: Attempt(attempt) },
        Kind::Idle(event::Idle {}) => EventKind::Idle,
        Kind::Retrying(event::Retrying { attempt, fault }) => {
            EventKind::Retrying { attempt: Attempt(attempt), fault: one(fault)? }
        }
        Kind::Blocked(event::Blocked { fault }) => EventKind::Blocked { fault: one(fault)? },
        Kind::Stopped(event::Stopped {}) => EventKind::Stopped,
        Kind::NodeChosen(event::NodeChosen { node, name, candidates }) => {
            EventKind::NodeChosen { node: node.parse()?, name, candidates }
        }
        Kind::SessionStarted(event::SessionStarted {}) => EventKind::SessionStarted,
        Kind::SessionResumed(event::SessionResumed {}) => EventKind::SessionResumed,
        Kind::SessionEnded(event::SessionEnded { fault, traffic, lasted }) => EventKind::SessionEnded {
            fault: optional(fault)?,
            traffic: traffic.unwrap_or_default().into(),
            lasted: parse_span("session_ended.lasted", lasted)?,
        },
        Kind::ConnectionRefused(event::ConnectionRefused { fault }) => {
            EventKind::ConnectionRefused { fault: one(fault)? }
        }
        Kind::ReaderReset(event::ReaderReset { fault }) => EventKind::ReaderReset { fault: one(fault)? },
        Kind::AgentStalled(event::AgentStalled { fault }) => EventKind::AgentStalled { fault: one(fault)? },
        Kind::PayloadReduced(event::PayloadReduced { limit }) => EventKind::PayloadReduced { limit },
    })
}

impl From<ListEvents> for v1::ListEventsRequest {
    fn from(list: ListEvents) -> Self {
        let ListEvents { tunnels, since, limit, before } = list;
        let before = before.map(|id| id.0).unwrap_or_default();
        Self { tunnels, since: since.map(timestamp), limit, before }
    }
}

impl TryFrom<v1::ListEventsRequest> for ListEvents {
    type Error = ConversionError;

    fn try_from(request: v1::ListEventsRequest) -> Result<Self, Self::Error> {
        let v1::ListEventsRequest { tunnels, since, limit, before } = request;
        let before = Some(EventId(before)).filter(|id| *id != EventId::default());
        Ok(Self { tunnels, since: parse_since(since)?, limit, before })
    }
}

impl From<WatchEvents> for v1::WatchEventsRequest {
    fn from(watch: WatchEvents) -> Self {
        let WatchEvents { tunnels, after, since, limit } = watch;
        Self { tunnels, after: after.map(|id| id.0), since: since.map(timestamp), limit }
    }
}

impl TryFrom<v1::WatchEventsRequest> for WatchEvents {
    type Error = ConversionError;

    fn try_from(request: v1::WatchEventsRequest) -> Result<Self, Self::Error> {
        let v1::WatchEventsRequest { tunnels, after, since, limit } = request;
        Ok(Self { tunnels, after: after.map(EventId), since: parse_since(since)?, limit })
    }
}

fn parse_since(since: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, ConversionError> {
    since.map(|since| parse_timestamp("since", Some(since))).transpose()
}

impl From<EventWatchUpdate> for v1::WatchEventsResponse {
    fn from(update: EventWatchUpdate) -> Self {
        let EventWatchUpdate { last, update } = update;
        let update = match update {
            EventUpdate::Snapshot(events) => {
                Update::Snapshot(Snapshot { events: events.into_iter().map(Into::into).collect() })
            }
            EventUpdate::Recorded(event) => Update::Event((*event).into()),
            EventUpdate::Resumed => Update::Resumed(Resumed {}),
        };
        Self { last_id: last.0, update: Some(update) }
    }
}

impl TryFrom<v1::WatchEventsResponse> for EventWatchUpdate {
    type Error = ConversionError;

    fn try_from(response: v1::WatchEventsResponse) -> Result<Self, Self::Error> {
        let update = match required("update", response.update)? {
            Update::Snapshot(Snapshot { events }) => EventUpdate::Snapshot(parse_events(events)?),
            Update::Event(event) => EventUpdate::Recorded(Box::new(parsed("event", Some(event))?)),
            Update::Resumed(Resumed {}) => EventUpdate::Resumed,
        };
        Ok(Self { last: EventId(response.last_id), update })
    }
}

pub(crate) fn parse_events(events: Vec<v1::Event>) -> Result<Vec<Event>, ConversionError> {
    events.into_iter().map(|event| parsed("events", Some(event))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn events_read_back_as_written(event in strategies::event()) {
            prop_assert_eq!(Event::try_from(v1::Event::from(event.clone())), Ok(event));
        }

        #[test]
        fn requests_read_back_as_written(list in strategies::list_events(), watch in strategies::watch_events()) {
            prop_assert_eq!(ListEvents::try_from(v1::ListEventsRequest::from(list.clone())), Ok(list));
            prop_assert_eq!(WatchEvents::try_from(v1::WatchEventsRequest::from(watch.clone())), Ok(watch));
        }

        #[test]
        fn updates_read_back_as_written(update in strategies::event_watch_update()) {
            let message = v1::WatchEventsResponse::from(update.clone());
            prop_assert_eq!(EventWatchUpdate::try_from(message), Ok(update));
        }
    }

    #[test]
    fn a_kind_of_the_future_is_shown_in_the_daemons_words() {
        let at = Some(timestamp(Timestamp::from_millis(5)));
        let message = v1::Event { id: 7, at, headline: "the moon rose".to_owned(), ..Default::default() };
        let event = Event::try_from(message.clone()).unwrap();
        assert_eq!(event.kind.to_string(), "the moon rose");
        let silent = v1::Event { headline: String::new(), ..message };
        assert_eq!(Event::try_from(silent).unwrap_err().field(), "kind");
    }
}
