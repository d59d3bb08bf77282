//! Failures that the user may see. Every kind knows how it ends: by itself, by a sign-in, or by a person's hand.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::{ExitCode, GrpcCode, Recovery};
use crate::login::LoginEnd;

/// A failure, with what is known of this one case.
///
/// Never holds a secret: it is stored in events, shown, logged and sent to front ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong, in a form that a program can act on.
    pub kind: FaultKind,
    /// What the failing side said, verbatim where it was text; may be empty.
    pub detail: String,
}

impl Fault {
    /// A fault with its detail.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A defect of our own, with its cause.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Internal, detail)
    }

    /// Who can end this fault.
    pub fn recovery(&self) -> Recovery {
        self.kind.recovery()
    }
}

impl fmt::Display for Fault {
    /// The headline, with the detail behind it where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for Fault {}

/// The kinds of failure. Order and names are those of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// No profile of that name in the AWS files.
    ProfileNotFound {
        /// The profile asked for.
        profile: String,
    },
    /// The profile's credentials are missing, expired or wrong.
    CredentialsInvalid {
        /// The profile they belong to; empty for the default credential chain.
        profile: String,
    },
    /// An IAM Identity Center login is needed.
    SignInNeeded {
        /// The sign-in (sso-session or start URL); may be empty when only the profile is known.
        sign_in: String,
    },
    /// AWS refused the caller.
    PermissionDenied {
        /// Who was refused; may be empty.
        principal: String,
        /// The action, such as `ssm:StartSession`.
        action: String,
        /// The resource refused; may be empty.
        resource: String,
    },
    /// The target is unknown in that region and account, or its agent is offline.
    TargetNotConnected {
        /// The target.
        target: String,
        /// The region searched.
        region: String,
    },
    /// No running instance or container in that region and account is what the target says.
    TargetNotFound {
        /// The target.
        target: String,
        /// The region searched.
        region: String,
    },
    /// Nothing listens on the remote port.
    RemoteRefused {
        /// Host and port as the tunnel has them.
        remote: String,
    },
    /// The target cannot resolve the remote host.
    RemoteUnresolvable {
        /// The host.
        host: String,
    },
    /// The agent's deny list forbids the remote host.
    RemoteForbidden {
        /// The host.
        host: String,
    },
    /// The agent is online but does not answer.
    AgentUnresponsive,
    /// The agent is too old for multiplexed port sessions.
    AgentUnsupported {
        /// The version that it announced.
        version: String,
    },
    /// A local application stopped reading and held up the others.
    LocalReaderStalled,
    /// The local port is taken, or the Unix socket.
    PortInUse {
        /// Address and port wanted, or `unix:PATH`.
        address: String,
        /// Who holds it, where the system tells.
        holder: Option<String>,
    },
    /// The network, DNS, TLS or an AWS endpoint cannot be reached.
    Network,
    /// AWS asked us to slow down.
    Throttled,
    /// The other side of the data channel broke the protocol.
    PeerViolation,
    /// Session Manager ended the session.
    SessionEnded,
    /// A defect or a local failure (disk, descriptors) of the daemon.
    Internal,
    /// A request that cannot be right, whatever the state.
    InvalidArgument {
        /// The field at fault, as the API calls it.
        field: String,
    },
    /// No tunnel of that name or id.
    TunnelNotFound {
        /// The name or id asked for.
        tunnel: String,
    },
    /// Another tunnel has that name.
    TunnelExists {
        /// The name.
        tunnel: String,
    },
    /// The tunnel changed since the caller read it.
    EtagMismatch {
        /// The tunnel's name.
        tunnel: String,
    },
    /// The daemon is stopping.
    ShuttingDown,
    /// The tunnel is labelled so that a person has to confirm its start, and nobody did.
    ConfirmationNeeded {
        /// The tunnel's name.
        tunnel: String,
        /// The label.
        label: String,
    },
    /// Where SSO tokens are kept cannot be used now: it is locked, gone, or cannot be written.
    KeyStoreUnavailable {
        /// Which one, in words.
        store: String,
    },
    /// No sign-in of that name, or none that the profile uses.
    SignInNotFound {
        /// The sign-in asked for; empty when none was named.
        sign_in: String,
    },
    /// Nobody is signed in after a login.
    LoginFailed {
        /// The sign-in.
        sign_in: String,
        /// Why.
        end: LoginEnd,
    },
    /// The config file of AWS has a section of that name that says something else.
    SectionExists {
        /// The section, such as `[profile dev]`.
        section: String,
    },
}

/// One row of the fault table.
struct Row {
    recovery: Recovery,
    grpc: GrpcCode,
    exit: ExitCode,
    remedy: &'static str,
}

impl FaultKind {
    /// Who can end this kind of fault.
    pub fn recovery(&self) -> Recovery {
        self.row().recovery
    }

    /// The gRPC status code of a call that fails with it.
    pub fn grpc_code(&self) -> GrpcCode {
        self.row().grpc
    }

    /// The exit code of a command that fails with it.
    pub fn exit_code(&self) -> ExitCode {
        self.row().exit
    }

    /// What a person can do about it: one sentence in the imperative.
    pub fn remedy(&self) -> &'static str {
        self.row().remedy
    }

    /// THE fault table: recovery, gRPC code, exit code, remedy. One arm per kind, so that a new kind cannot be added
    /// without deciding all four.
    fn row(&self) -> Row {
        use {ExitCode as E, GrpcCode as G, Recovery as R};
        let row = |recovery, grpc, exit, remedy| Row { recovery, grpc, exit, remedy };
        match self {
            Self::ProfileNotFound { .. } => row(
                R::FixByUser,
                G::FailedPrecondition,
                E::NotFound,
                "add the profile with `aws configure`, then `stctl up NAME`, or choose another with \
                 `stctl tunnel edit NAME --profile P`",
            ),
            Self::CredentialsInvalid { .. } => row(
                R::FixByUser,
                G::Unauthenticated,
                E::LoginNeeded,
                "renew the profile's credentials, then `stctl restart NAME`",
            ),
            Self::SignInNeeded { .. } => row(
                R::SignIn,
                G::Unauthenticated,
                E::LoginNeeded,
                "log in with `stctl sso login --profile PROFILE`; the tunnel goes on by itself",
            ),
            Self::PermissionDenied { .. } => row(
                R::FixByUser,
                G::PermissionDenied,
                E::PermissionDenied,
                "ask the administrator of the AWS account to allow this action, then `stctl restart NAME`",
            ),
            Self::TargetNotConnected { .. } => row(
                R::Retry,
                G::Unavailable,
                E::NotFound,
                "check instance id, region and profile, that the SSM agent runs there, and that its role has \
                 AmazonSSMManagedInstanceCore",
            ),
            // What is replaced leaves a gap, which ends by itself.
            Self::TargetNotFound { .. } => row(
                R::Retry,
                G::Unavailable,
                E::NotFound,
                "check target, region and profile: `stctl targets` lists what can be reached; \
                 correct it with `stctl tunnel edit NAME --target T`",
            ),
            Self::RemoteRefused { .. } => row(
                R::Retry,
                G::Unavailable,
                E::NotUp,
                "start the service on that port, or correct it with `stctl tunnel edit NAME --remote [HOST:]PORT`",
            ),
            Self::RemoteUnresolvable { .. } => row(
                R::FixByUser,
                G::FailedPrecondition,
                E::NotFound,
                "check the host name; it is resolved on the target, not here; \
                 correct it with `stctl tunnel edit NAME --remote HOST:PORT`, \
                 or make the target resolve it, then `stctl up NAME`",
            ),
            Self::RemoteForbidden { .. } => row(
                R::FixByUser,
                G::FailedPrecondition,
                E::PermissionDenied,
                "choose another remote host with `stctl tunnel edit NAME --remote HOST:PORT`: \
                 the SSM agent on the target refuses this one",
            ),
            Self::AgentUnresponsive => row(
                R::Retry,
                G::Unavailable,
                E::NotUp,
                "check the SSM agent on the target (load, disk space, `systemctl status amazon-ssm-agent`)",
            ),
            Self::AgentUnsupported { .. } => row(
                R::FixByUser,
                G::FailedPrecondition,
                E::Failure,
                "update the SSM agent on the target to 3.1.1511.0 or later, then `stctl up NAME`",
            ),
            Self::LocalReaderStalled => row(
                R::Retry,
                G::Unavailable,
                E::Failure,
                "look at the local application: it stopped reading from its connection",
            ),
            Self::PortInUse { .. } => row(
                R::FixByUser,
                G::FailedPrecondition,
                E::Conflict,
                "free it, which is noticed within 5 s, or choose another with `stctl tunnel edit NAME --local PORT`",
            ),
            Self::Network => row(
                R::Retry,
                G::Unavailable,
                E::NotUp,
                "check the network, VPN and proxy; the tunnel is tried again by itself",
            ),
            Self::Throttled => row(
                R::Retry,
                G::ResourceExhausted,
                E::NotUp,
                "wait; the tunnel is tried again by itself, more slowly",
            ),
            Self::PeerViolation => row(
                R::Retry,
                G::Unavailable,
                E::NotUp,
                "nothing: a new session is started; when it happens again, update the SSM agent on the target",
            ),
            Self::SessionEnded => {
                row(R::Retry, G::Unavailable, E::NotUp, "nothing: a new session is started by itself")
            }
            Self::Internal => row(
                R::Retry,
                G::Internal,
                E::Failure,
                "look at the daemon's log (`stctl daemon status` names it) and report it",
            ),
            Self::InvalidArgument { .. } => row(
                R::FixByUser,
                G::InvalidArgument,
                E::Usage,
                "correct the value; `stctl help` and `stctl VERB --help` show what is accepted",
            ),
            Self::TunnelNotFound { .. } => row(
                R::FixByUser,
                G::NotFound,
                E::NotFound,
                "`stctl ls` shows the tunnels there are; `stctl tunnel add` makes one",
            ),
            Self::TunnelExists { .. } => row(
                R::FixByUser,
                G::AlreadyExists,
                E::Conflict,
                "choose another name, or change the one that exists with `stctl tunnel edit NAME`",
            ),
            Self::EtagMismatch { .. } => row(
                R::FixByUser,
                G::Aborted,
                E::Conflict,
                "read the tunnel again with `stctl tunnel show NAME` and repeat the change",
            ),
            Self::ShuttingDown => row(
                R::Retry,
                G::Unavailable,
                E::DaemonUnreachable,
                "wait for the daemon to stop, then repeat the command: it starts a new one",
            ),
            Self::ConfirmationNeeded { .. } => row(
                R::FixByUser,
                G::FailedPrecondition,
                E::Usage,
                "make sure that this is the tunnel you mean, then repeat the command with --yes",
            ),
            // What is locked is unlocked by its owner sooner or later, and is looked at again until then.
            Self::KeyStoreUnavailable { .. } => row(
                R::Retry,
                G::Unavailable,
                E::Failure,
                "unlock or mend it, which is noticed within a minute; or choose another with \
                 `stctl settings set sso.key_store STORE` and start the daemon again",
            ),
            Self::SignInNotFound { .. } => row(
                R::FixByUser,
                G::NotFound,
                E::NotFound,
                "`stctl sso status` shows the sign-ins there are; any other one needs --start-url and --sso-region",
            ),
            Self::LoginFailed { end, .. } => {
                row(end.recovery(), G::Unauthenticated, end.exit_code(), end.remedy())
            }
            Self::SectionExists { .. } => row(
                R::FixByUser,
                G::AlreadyExists,
                E::Conflict,
                "choose another name, or repeat with --overwrite, which keeps a copy of the file",
            ),
        }
    }
}

impl fmt::Display for FaultKind {
    /// The headline: what went wrong, without the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProfileNotFound { profile } => write!(f, "there is no AWS profile \"{profile}\""),
            Self::CredentialsInvalid { profile } if profile.is_empty() => {
                f.write_str("no valid AWS credentials were found")
            }
            Self::CredentialsInvalid { profile } => {
                write!(f, "the credentials of AWS profile \"{profile}\" are not valid")
            }
            Self::SignInNeeded { sign_in } if sign_in.is_empty() => f.write_str("an SSO login is needed"),
            Self::SignInNeeded { sign_in } => write!(f, "an SSO login to \"{sign_in}\" is needed"),
            Self::PermissionDenied { principal, action, resource } => {
                let who = if principal.is_empty() { "the caller" } else { principal };
                write!(f, "AWS does not allow {who} to do {action}")?;
                if resource.is_empty() { Ok(()) } else { write!(f, " on {resource}") }
            }
            Self::TargetNotConnected { target, region } => {
                write!(f, "{target} is not connected to Session Manager in {region}")
            }
            Self::TargetNotFound { target, region } => {
                write!(f, "nothing that runs in {region} is {target}")
            }
            Self::RemoteRefused { remote } => write!(f, "nothing accepts connections on remote {remote}"),
            Self::RemoteUnresolvable { host } => write!(f, "the target cannot resolve host \"{host}\""),
            Self::RemoteForbidden { host } => write!(f, "the target's agent forbids remote host \"{host}\""),
            Self::AgentUnresponsive => f.write_str("the SSM agent on the target does not answer"),
            Self::AgentUnsupported { version } => {
                write!(f, "the SSM agent {version} on the target is too old for multiplexed port sessions")
            }
            Self::LocalReaderStalled => f.write_str("a local application stopped reading"),
            Self::PortInUse { address, holder } => {
                let what = if address.starts_with("unix:") { "socket" } else { "port" };
                write!(f, "local {what} {address} is in use")?;
                holder.iter().try_for_each(|holder| write!(f, " by {holder}"))
            }
            Self::Network => f.write_str("AWS cannot be reached"),
            Self::Throttled => f.write_str("AWS asked to slow down"),
            Self::PeerViolation => f.write_str("the other side of the data channel broke the protocol"),
            Self::SessionEnded => f.write_str("Session Manager ended the session"),
            Self::Internal => f.write_str("the daemon failed"),
            Self::InvalidArgument { field } => write!(f, "{field} is not valid"),
            Self::TunnelNotFound { tunnel } => write!(f, "there is no tunnel \"{tunnel}\""),
            Self::TunnelExists { tunnel } => write!(f, "there is already a tunnel \"{tunnel}\""),
            Self::EtagMismatch { tunnel } => write!(f, "tunnel \"{tunnel}\" was changed meanwhile"),
            Self::ShuttingDown => f.write_str("the daemon is stopping"),
            Self::ConfirmationNeeded { tunnel, label } => {
                write!(f, "tunnel \"{tunnel}\" is labelled {label}: its start has to be confirmed")
            }
            Self::KeyStoreUnavailable { store } => write!(f, "{store} cannot be used for SSO tokens"),
            Self::SignInNotFound { sign_in } if sign_in.is_empty() => f.write_str("there is no such sign-in"),
            Self::SignInNotFound { sign_in } => write!(f, "there is no sign-in \"{sign_in}\""),
            Self::LoginFailed { sign_in, end } => end.write(f, sign_in),
            Self::SectionExists { section } => {
                write!(f, "the AWS config file has {section} already, and it says something else")
            }
        }
    }
}
