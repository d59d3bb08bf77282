//! Tunnels as they are: intent, state, status.

use stormtunnel_model::{
    Attempt, ConnectStep, Fault, Intent, InvalidName, RemoteHealth, RunTerms, SessionStatus, SsmSessionId,
    Traffic, Tunnel, TunnelLimit, TunnelState, TunnelStatus,
};

use super::guards::parse_reason;
use super::{ConversionError, enum_value, known, parse_etag, parse_timestamp, parsed, required, timestamp};
use crate::v1;
use crate::v1::tunnel_limit::{self, Limit};
use crate::v1::tunnel_state::{self, State};

impl From<Intent> for v1::Intent {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Run => Self::Run,
            Intent::Stop => Self::Stop,
        }
    }
}

pub(super) fn parse_intent(number: i32) -> Result<Intent, ConversionError> {
    match enum_value("intent", number)? {
        v1::Intent::Run => Ok(Intent::Run),
        v1::Intent::Stop => Ok(Intent::Stop),
        v1::Intent::Unspecified => Err(ConversionError::missing("intent")),
    }
}

impl From<ConnectStep> for v1::ConnectStep {
    fn from(step: ConnectStep) -> Self {
        match step {
            ConnectStep::Listener => Self::Listener,
            ConnectStep::Session => Self::Session,
            ConnectStep::Channel => Self::Channel,
            ConnectStep::Resume => Self::Resume,
            ConnectStep::Other => Self::Unspecified,
        }
    }
}

fn parse_step(number: i32) -> ConnectStep {
    match known(number) {
        v1::ConnectStep::Listener => ConnectStep::Listener,
        v1::ConnectStep::Session => ConnectStep::Session,
        v1::ConnectStep::Channel => ConnectStep::Channel,
        v1::ConnectStep::Resume => ConnectStep::Resume,
        v1::ConnectStep::Unspecified => ConnectStep::Other,
    }
}

impl From<RemoteHealth> for v1::RemoteHealth {
    fn from(health: RemoteHealth) -> Self {
        match health {
            RemoteHealth::Unknown => Self::Unknown,
            RemoteHealth::Ok => Self::Ok,
            RemoteHealth::Refused => Self::Refused,
        }
    }
}

fn parse_health(number: i32) -> RemoteHealth {
    match known(number) {
        v1::RemoteHealth::Unknown | v1::RemoteHealth::Unspecified => RemoteHealth::Unknown,
        v1::RemoteHealth::Ok => RemoteHealth::Ok,
        v1::RemoteHealth::Refused => RemoteHealth::Refused,
    }
}

impl From<TunnelState> for v1::TunnelState {
    fn from(state: TunnelState) -> Self {
        let state = match state {
            TunnelState::Stopped => State::Stopped(tunnel_state::Stopped {}),
            TunnelState::Connecting { step } => {
                State::Connecting(tunnel_state::Connecting { step: v1::ConnectStep::from(step).into() })
            }
            TunnelState::Up => State::Up(tunnel_state::Up {}),
            TunnelState::Idle => State::Idle(tunnel_state::Idle {}),
            TunnelState::Retrying { at, fault } => {
                State::Retrying(tunnel_state::Retrying { at: Some(timestamp(at)), fault: Some(fault.into()) })
            }
            TunnelState::Blocked { fault } => {
                State::Blocked(tunnel_state::Blocked { fault: Some(fault.into()) })
            }
            TunnelState::Stopping => State::Stopping(tunnel_state::Stopping {}),
        };
        Self { state: Some(state) }
    }
}

impl TryFrom<v1::TunnelState> for TunnelState {
    type Error = ConversionError;

    fn try_from(state: v1::TunnelState) -> Result<Self, Self::Error> {
        Ok(match required("state", state.state)? {
            State::Stopped(tunnel_state::Stopped {}) => Self::Stopped,
            State::Connecting(tunnel_state::Connecting { step }) => {
                Self::Connecting { step: parse_step(step) }
            }
            State::Up(tunnel_state::Up {}) => Self::Up,
            State::Idle(tunnel_state::Idle {}) => Self::Idle,
            State::Retrying(tunnel_state::Retrying { at, fault }) => Self::Retrying {
                at: parse_timestamp("retrying.at", at)?,
                fault: parsed("retrying.fault", fault)?,
            },
            State::Blocked(tunnel_state::Blocked { fault }) => {
                Self::Blocked { fault: parsed("blocked.fault", fault)? }
            }
            State::Stopping(tunnel_state::Stopping {}) => Self::Stopping,
        })
    }
}

impl From<Traffic> for v1::Traffic {
    fn from(traffic: Traffic) -> Self {
        Self { sent: traffic.sent, received: traffic.received }
    }
}

impl From<v1::Traffic> for Traffic {
    fn from(traffic: v1::Traffic) -> Self {
        Self { sent: traffic.sent, received: traffic.received }
    }
}

impl From<TunnelLimit> for v1::TunnelLimit {
    fn from(limit: TunnelLimit) -> Self {
        let limit = match limit {
            TunnelLimit::AgentResend { waiting_bytes } => {
                Limit::AgentResend(tunnel_limit::AgentResend { waiting_bytes })
            }
        };
        Self { limit: Some(limit) }
    }
}

/// A limit of a newer daemon is left out: it explains something, and nothing depends on it.
fn parse_limit(limit: v1::TunnelLimit) -> Option<TunnelLimit> {
    limit.limit.map(|limit| match limit {
        Limit::AgentResend(tunnel_limit::AgentResend { waiting_bytes }) => {
            TunnelLimit::AgentResend { waiting_bytes }
        }
    })
}

impl From<SessionStatus> for v1::SessionStatus {
    fn from(session: SessionStatus) -> Self {
        let SessionStatus { id, node, principal, since, connections, traffic } = session;
        Self {
            id: id.0,
            node: node.into(),
            principal: principal.map(Into::into),
            since: Some(timestamp(since)),
            connections,
            traffic: Some(traffic.into()),
        }
    }
}

impl TryFrom<v1::SessionStatus> for SessionStatus {
    type Error = ConversionError;

    fn try_from(session: v1::SessionStatus) -> Result<Self, Self::Error> {
        let v1::SessionStatus { id, node, principal, since, connections, traffic } = session;
        Ok(Self {
            id: SsmSessionId(id),
            node: node.parse()?,
            principal: principal.map(|text| text.parse()).transpose()?,
            since: parse_timestamp("since", since)?,
            connections,
            traffic: traffic.unwrap_or_default().into(),
        })
    }
}

impl From<TunnelStatus> for v1::TunnelStatus {
    fn from(status: TunnelStatus) -> Self {
        Self {
            state: Some(status.state.into()),
            since: Some(timestamp(status.since)),
            attempt: status.attempt.0,
            remote: v1::RemoteHealth::from(status.remote).into(),
            listening: status.listening.iter().map(ToString::to_string).collect(),
            session_id: status.session.map(|session| session.0),
            node: status.node.map(Into::into),
            sessions: status.sessions.into_iter().map(Into::into).collect(),
            agent_version: status.agent_version,
            connections: status.connections,
            traffic: Some(status.traffic.into()),
            last_fault: status.last_fault.map(Into::into),
            limit: status.limit.map(Into::into),
            turn_at: status.turn_at.map(timestamp),
        }
    }
}

impl TryFrom<v1::TunnelStatus> for TunnelStatus {
    type Error = ConversionError;

    fn try_from(status: v1::TunnelStatus) -> Result<Self, Self::Error> {
        let address = |text: String| {
            let invalid = |error: InvalidName| ConversionError::invalid("listening", &text, error.rule);
            text.parse().map_err(invalid)
        };
        let fault =
            |fault| Fault::try_from(fault).map_err(|error: ConversionError| error.inside("last_fault"));
        let session = |session| parsed("sessions", Some(session));
        Ok(Self {
            state: parsed("state", status.state)?,
            since: parse_timestamp("since", status.since)?,
            attempt: Attempt(status.attempt),
            remote: parse_health(status.remote),
            listening: status.listening.into_iter().map(address).collect::<Result<_, _>>()?,
            session: status.session_id.map(SsmSessionId),
            node: status.node.map(|node| node.parse()).transpose()?,
            sessions: status.sessions.into_iter().map(session).collect::<Result<_, _>>()?,
            agent_version: status.agent_version,
            connections: status.connections,
            traffic: status.traffic.unwrap_or_default().into(),
            last_fault: status.last_fault.map(fault).transpose()?,
            limit: status.limit.and_then(parse_limit),
            turn_at: status.turn_at.map(|at| parse_timestamp("turn_at", Some(at))).transpose()?,
        })
    }
}

impl From<Tunnel> for v1::Tunnel {
    fn from(tunnel: Tunnel) -> Self {
        Self {
            id: tunnel.id.to_string(),
            etag: super::etag(tunnel.etag),
            created_at: Some(timestamp(tunnel.created_at)),
            spec: Some(tunnel.spec.into()),
            intent: v1::Intent::from(tunnel.intent).into(),
            status: Some(tunnel.status.into()),
            reason: tunnel.terms.reason.map(Into::into),
            stops_at: tunnel.terms.stops_at.map(timestamp),
        }
    }
}

impl TryFrom<v1::Tunnel> for Tunnel {
    type Error = ConversionError;

    fn try_from(tunnel: v1::Tunnel) -> Result<Self, Self::Error> {
        let stops_at = tunnel.stops_at.map(|end| parse_timestamp("stops_at", Some(end))).transpose()?;
        Ok(Self {
            id: super::tunnels::parse_id(&tunnel.id)?,
            etag: parse_etag(&tunnel.etag)?,
            created_at: parse_timestamp("created_at", tunnel.created_at)?,
            spec: parsed("spec", tunnel.spec)?,
            intent: parse_intent(tunnel.intent)?,
            terms: RunTerms { reason: parse_reason(tunnel.reason)?, stops_at },
            status: parsed("status", tunnel.status)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn tunnels_read_back_as_written(tunnel in strategies::tunnel()) {
            prop_assert_eq!(Tunnel::try_from(v1::Tunnel::from(tunnel.clone())), Ok(tunnel));
        }
    }

    #[test]
    fn what_a_newer_daemon_has_does_not_hide_the_rest() {
        assert_eq!((parse_step(9), parse_step(0)), (ConnectStep::Other, ConnectStep::Other));
        assert_eq!(parse_health(9), RemoteHealth::Unknown);
        assert_eq!(parse_limit(v1::TunnelLimit { limit: None }), None);
    }

    #[test]
    fn what_programs_decide_by_is_never_guessed() {
        assert_eq!(parse_intent(9).unwrap_err().field(), "intent");
        assert_eq!(parse_intent(0).unwrap_err().field(), "intent");
        assert_eq!(TunnelState::try_from(v1::TunnelState { state: None }).unwrap_err().field(), "state");
    }
}
