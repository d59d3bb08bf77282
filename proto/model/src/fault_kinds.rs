//! Every kind of fault, by name and by example.

use crate::fault::FaultKind;
use crate::login::LoginEnd;

impl FaultKind {
    /// The kind's name in the API, such as `port_in_use`; stable.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProfileNotFound { .. } => "profile_not_found",
            Self::CredentialsInvalid { .. } => "credentials_invalid",
            Self::SignInNeeded { .. } => "sign_in_needed",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::TargetNotConnected { .. } => "target_not_connected",
            Self::TargetNotFound { .. } => "target_not_found",
            Self::RemoteRefused { .. } => "remote_refused",
            Self::RemoteUnresolvable { .. } => "remote_unresolvable",
            Self::RemoteForbidden { .. } => "remote_forbidden",
            Self::AgentUnresponsive => "agent_unresponsive",
            Self::AgentUnsupported { .. } => "agent_unsupported",
            Self::LocalReaderStalled => "local_reader_stalled",
            Self::PortInUse { .. } => "port_in_use",
            Self::Network => "network",
            Self::Throttled => "throttled",
            Self::PeerViolation => "peer_violation",
            Self::SessionEnded => "session_ended",
            Self::Internal => "internal",
            Self::InvalidArgument { .. } => "invalid_argument",
            Self::TunnelNotFound { .. } => "tunnel_not_found",
            Self::TunnelExists { .. } => "tunnel_exists",
            Self::EtagMismatch { .. } => "etag_mismatch",
            Self::ShuttingDown => "shutting_down",
            Self::ConfirmationNeeded { .. } => "confirmation_needed",
            Self::KeyStoreUnavailable { .. } => "key_store_unavailable",
            Self::SignInNotFound { .. } => "sign_in_not_found",
            Self::LoginFailed { .. } => "login_failed",
            Self::SectionExists { .. } => "section_exists",
        }
    }

    /// One example of each kind, for what must hold for all of them. A test of the API crate holds the list to the
    /// contract, so that no kind can be left out.
    pub fn one_of_each() -> Vec<Self> {
        let text = str::to_owned;
        vec![
            Self::ProfileNotFound { profile: text("prod") },
            Self::CredentialsInvalid { profile: text("prod") },
            Self::SignInNeeded { sign_in: text("corp") },
            Self::PermissionDenied {
                principal: text("arn:aws:sts::123456789012:assumed-role/Developer/ada"),
                action: text("ssm:StartSession"),
                resource: text("arn:aws:ec2:eu-west-1:123456789012:instance/i-0abcdef1234567890"),
            },
            Self::TargetNotConnected { target: text("i-0abcdef1234567890"), region: text("eu-west-1") },
            Self::TargetNotFound { target: text("tag:Env=prod"), region: text("eu-west-1") },
            Self::RemoteRefused { remote: text("db.internal:5432") },
            Self::RemoteUnresolvable { host: text("db.internal") },
            Self::RemoteForbidden { host: text("169.254.169.254") },
            Self::AgentUnresponsive,
            Self::AgentUnsupported { version: text("2.3.1") },
            Self::LocalReaderStalled,
            Self::PortInUse { address: text("127.0.0.1:15432"), holder: Some(text("postgres (pid 4711)")) },
            Self::Network,
            Self::Throttled,
            Self::PeerViolation,
            Self::SessionEnded,
            Self::Internal,
            Self::InvalidArgument { field: text("spec.remote.port") },
            Self::TunnelNotFound { tunnel: text("db") },
            Self::TunnelExists { tunnel: text("db") },
            Self::EtagMismatch { tunnel: text("db") },
            Self::ShuttingDown,
            Self::ConfirmationNeeded { tunnel: text("prod-db"), label: text("confirm=true") },
            Self::KeyStoreUnavailable { store: text("the Secret Service") },
            Self::SignInNotFound { sign_in: text("corp") },
            Self::LoginFailed { sign_in: text("corp"), end: LoginEnd::Declined },
            Self::SectionExists { section: text("[profile dev]") },
        ]
    }
}
