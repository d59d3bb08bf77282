//! The client's half of the handshake: one request, one answer.
//!
//! Nothing is negotiated. The agent says what kind of session it is and which version it runs; from the versions both
//! sides infer whether connections are multiplexed and whether the multiplexer keeps itself alive.

use crate::event::SessionEnd;
use crate::payload::{
    ActionParameters, HandshakeRequest, HandshakeResponse, ProcessedAction, RequestedAction, STATUS_SUCCESS,
    STATUS_UNSUPPORTED, SessionTypeParameters,
};
use crate::version::Version;

/// The `type` property without which the agent forwards a single connection.
const MULTIPLEXED_TYPE: &str = "LocalPortForwarding";

/// What the request leads to.
#[derive(Debug)]
pub(crate) struct Answer {
    /// To be sent exactly once, also when the session is refused: it makes the agent end it.
    pub(crate) response: HandshakeResponse,
    /// The agent's version, or why this session cannot be.
    pub(crate) outcome: Result<Version, SessionEnd>,
}

/// Answers the agent's request.
pub(crate) fn answer(request: &HandshakeRequest, client_version: &str) -> Answer {
    let agent_version = Version::new(request.agent_version.as_str());
    let mut refusal = None;
    let mut session_seen = false;
    let mut processed = Vec::with_capacity(request.requested_client_actions.len());
    for action in &request.requested_client_actions {
        let verdict = match &action.action_parameters {
            ActionParameters::SessionType(session) if action.action_type == "SessionType" => {
                session_seen = true;
                check_session(session, &agent_version)
            }
            ActionParameters::SessionType(_) | ActionParameters::Other(_) => Err(unknown_action(action)),
        };
        processed.push(process(action, verdict.as_ref().err()));
        refusal = refusal.or(verdict.err());
    }
    if !session_seen && refusal.is_none() {
        refusal = Some(rejected("the agent did not say what kind of session this is"));
    }
    let errors: Vec<String> =
        processed.iter().map(|action| action.error.clone()).filter(|e| !e.is_empty()).collect();
    Answer {
        response: HandshakeResponse {
            client_version: client_version.to_owned(),
            processed_client_actions: processed,
            errors: (!errors.is_empty()).then_some(errors),
        },
        outcome: refusal.map_or(Ok(agent_version), Err),
    }
}

fn check_session(session: &SessionTypeParameters, agent_version: &Version) -> Result<(), SessionEnd> {
    if session.session_type != "Port" {
        return Err(rejected(&format!(
            "the document starts a {} session, not a port session; use a port forwarding document",
            session.session_type
        )));
    }
    let kind = session.properties.as_ref().and_then(|properties| properties.get("type")?.as_str());
    if kind != Some(MULTIPLEXED_TYPE) {
        return Err(rejected(
            "the document forwards a single raw connection (as AWS-StartSSHSession does); use a port forwarding document",
        ));
    }
    if !agent_version.multiplexes() {
        return Err(SessionEnd::AgentTooOld { agent_version: agent_version.clone() });
    }
    Ok(())
}

fn unknown_action(action: &RequestedAction) -> SessionEnd {
    rejected(&format!("the agent asks for {}, which port sessions do not support", action.action_type))
}

fn rejected(reason: &str) -> SessionEnd {
    SessionEnd::HandshakeRejected { reason: reason.to_owned() }
}

fn process(action: &RequestedAction, refusal: Option<&SessionEnd>) -> ProcessedAction {
    ProcessedAction {
        action_type: action.action_type.clone(),
        action_status: if refusal.is_some() { STATUS_UNSUPPORTED } else { STATUS_SUCCESS },
        action_result: None,
        error: refusal.map(ToString::to_string).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: &str, actions: &str) -> HandshakeRequest {
        let text = format!(r#"{{"AgentVersion":"{version}","RequestedClientActions":[{actions}]}}"#);
        serde_json::from_str(&text).unwrap()
    }

    const PORT: &str = r#"{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port",
        "Properties":{"portNumber":"80","type":"LocalPortForwarding"}}}"#;
    const KMS: &str = r#"{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"k","Challenge":""}}"#;

    #[test]
    fn a_multiplexed_port_session_is_accepted() {
        let answer = answer(&request("3.3.1142.0", PORT), "1.2.835.0");
        assert_eq!(answer.outcome.unwrap().as_str(), "3.3.1142.0");
        assert_eq!(answer.response.processed_client_actions[0].action_status, STATUS_SUCCESS);
        assert_eq!(answer.response.errors, None);
        assert_eq!(answer.response.client_version, "1.2.835.0");
    }

    /// The official client writes the 3 into the wrong field.
    #[test]
    fn official_bug_an_unknown_action_gets_status_3() {
        let answer = answer(&request("3.3.1142.0", &format!("{PORT},{KMS}")), "1.2.835.0");
        let statuses: Vec<_> =
            answer.response.processed_client_actions.iter().map(|action| action.action_status).collect();
        assert_eq!(statuses, [STATUS_SUCCESS, STATUS_UNSUPPORTED]);
        assert_eq!(answer.response.processed_client_actions[1].action_result, None);
        let SessionEnd::HandshakeRejected { reason } = answer.outcome.unwrap_err() else { panic!() };
        assert!(reason.contains("KMSEncryption"), "{reason}");
    }

    #[test]
    fn an_old_agent_is_told_apart_and_the_text_says_what_to_do() {
        let end = answer(&request("3.0.196.0", PORT), "1.2.835.0").outcome.unwrap_err();
        assert!(matches!(end, SessionEnd::AgentTooOld { .. }));
        assert!(end.to_string().contains("update it"), "{end}");
    }

    #[test]
    fn other_session_kinds_are_refused_with_a_remedy() {
        let ssh = PORT.replace(r#","type":"LocalPortForwarding""#, "");
        let shell = r#"{"ActionType":"SessionType","ActionParameters":{"SessionType":"Standard_Stream","Properties":null}}"#;
        for actions in [ssh.as_str(), shell] {
            let end = answer(&request("3.3.1142.0", actions), "1.2.835.0").outcome.unwrap_err();
            assert!(end.to_string().contains("port forwarding document"), "{end}");
        }
        assert!(answer(&request("3.3.1142.0", ""), "1.2.835.0").outcome.is_err());
    }
}
