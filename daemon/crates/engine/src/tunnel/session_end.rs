//! How a session ended, in the words of faults.

use ssm_session::{HandshakeStep, ProtocolError, SessionEnd};
use stormtunnel_model::{Fault, FaultKind, TunnelSpec};

/// The end of a session, as the machine wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Why.
    pub(crate) fault: Fault,
    /// AWS ended it: no call has to.
    pub(crate) over: bool,
}

/// The fault behind the end of a session of `spec`.
pub(crate) fn ending(end: SessionEnd, was_up: bool, spec: &TunnelSpec) -> Ending {
    let text = end.to_string();
    match end {
        SessionEnd::ServiceClosed { output } => {
            Ending { fault: service_closed(output, was_up, spec), over: true }
        }
        SessionEnd::HandshakeTimeout { step } => {
            let detail = match step {
                HandshakeStep::Request => "it did not begin the handshake; it may be starting or overloaded",
                HandshakeStep::Complete => "it did not complete the handshake; it may be overloaded",
                HandshakeStep::Ready => "it completed the handshake and then confirmed nothing",
            };
            Ending { fault: Fault::new(FaultKind::AgentUnresponsive, detail), over: false }
        }
        SessionEnd::HandshakeRejected { reason } => {
            Ending { fault: Fault::new(FaultKind::PeerViolation, reason), over: false }
        }
        SessionEnd::AgentTooOld { agent_version } => {
            let kind = FaultKind::AgentUnsupported { version: agent_version.as_str().to_owned() };
            Ending { fault: Fault::new(kind, ""), over: false }
        }
        SessionEnd::AgentLost { silence } => {
            let detail =
                format!("it confirmed nothing for {} s although the gateway answers", silence.as_secs());
            Ending { fault: Fault::new(FaultKind::AgentUnresponsive, detail), over: false }
        }
        SessionEnd::UserTerminated { .. } => {
            Ending { fault: Fault::new(FaultKind::SessionEnded, text), over: false }
        }
    }
}

/// The fault behind a peer that broke the protocol.
pub(crate) fn violation(error: &ProtocolError) -> Ending {
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    Ending { fault: Fault::new(FaultKind::PeerViolation, detail), over: false }
}

/// The service gives its reason as free text. Before the session was up, two texts of the agent tell that the remote
/// end is at fault; they are matched loosely, because they belong to no contract.
fn service_closed(output: String, was_up: bool, spec: &TunnelSpec) -> Fault {
    let host = || spec.remote.host.clone().unwrap_or_default();
    let text = output.to_ascii_lowercase();
    let kind = if was_up {
        FaultKind::SessionEnded
    } else if text.contains("forwarding to ip address") && text.contains("forbidden") {
        FaultKind::RemoteForbidden { host: host() }
    } else if text.contains("no such host") || text.contains("lookup ") {
        FaultKind::RemoteUnresolvable { host: host() }
    } else if text.contains("not supported by this version of ssm agent") {
        FaultKind::AgentUnsupported { version: String::new() }
    } else {
        FaultKind::SessionEnded
    };
    Fault::new(kind, output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    fn kind_of(output: &str, was_up: bool) -> FaultKind {
        let end = SessionEnd::ServiceClosed { output: output.to_owned() };
        let ending = ending(end, was_up, &spec("db"));
        assert!(ending.over, "the service ended it: nothing is left to end");
        assert_eq!(ending.fault.detail, output, "the text is shown as it came");
        ending.fault.kind
    }

    #[test]
    fn the_agents_texts_tell_the_remote_end_from_the_session() {
        let host = "db.internal".to_owned();
        let forbidden = "Forwarding to IP address 169.254.169.254 is forbidden.";
        let lookup = "lookup db.internal on 10.0.0.2:53: no such host";
        assert_eq!(kind_of(forbidden, false), FaultKind::RemoteForbidden { host: host.clone() });
        assert_eq!(kind_of(lookup, false), FaultKind::RemoteUnresolvable { host: host.clone() });
        assert_eq!(kind_of("lookup db.internal: i/o timeout", false), FaultKind::RemoteUnresolvable { host });
        assert_eq!(kind_of("", false), FaultKind::SessionEnded);
        assert_eq!(kind_of("Session timed out", false), FaultKind::SessionEnded);
    }

    #[test]
    fn a_session_that_was_up_cannot_have_a_bad_remote_host() {
        assert_eq!(kind_of("lookup db.internal: no such host", true), FaultKind::SessionEnded);
    }

    #[test]
    fn an_old_agent_is_named_with_its_version() {
        let end = SessionEnd::AgentTooOld { agent_version: ssm_session::Version::new("3.0.100.0") };
        let expected = FaultKind::AgentUnsupported { version: "3.0.100.0".to_owned() };
        assert_eq!(ending(end, false, &spec("db")).fault.kind, expected);
    }
}
