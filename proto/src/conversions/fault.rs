//! Faults. Outgoing ones carry headline, remedy and recovery in words, for clients that do not know the kind.

use stormtunnel_model::{Fault, FaultKind, LoginEnd, Recovery};

use super::{ConversionError, required};
use crate::v1;
use crate::v1::fault::{self, Kind};

impl From<Fault> for v1::Fault {
    fn from(fault: Fault) -> Self {
        let headline = fault.kind.to_string();
        let remedy = fault.kind.remedy().to_owned();
        let recovery = v1::Recovery::from(fault.recovery()).into();
        Self { detail: fault.detail, headline, remedy, recovery, kind: Some(fault.kind.into()) }
    }
}

impl TryFrom<v1::Fault> for Fault {
    type Error = ConversionError;

    /// A fault of a kind that this version does not know is one of the daemon's as far as a program can tell; its
    /// headline is kept for the person.
    fn try_from(fault: v1::Fault) -> Result<Self, Self::Error> {
        match fault.kind {
            Some(kind) => Ok(Self::new(kind.into(), fault.detail)),
            None => {
                let headline = required("kind", super::non_empty(fault.headline))?;
                let known = [headline, fault.detail].into_iter().filter(|text| !text.is_empty());
                Ok(Self::internal(known.collect::<Vec<_>>().join(": ")))
            }
        }
    }
}

impl From<FaultKind> for Kind {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::ProfileNotFound { profile } => {
                Self::ProfileNotFound(fault::ProfileNotFound { profile })
            }
            FaultKind::CredentialsInvalid { profile } => {
                Self::CredentialsInvalid(fault::CredentialsInvalid { profile })
            }
            FaultKind::SignInNeeded { sign_in } => Self::SignInNeeded(fault::SignInNeeded { sign_in }),
            FaultKind::PermissionDenied { principal, action, resource } => {
                Self::PermissionDenied(fault::PermissionDenied { principal, action, resource })
            }
            FaultKind::TargetNotConnected { target, region } => {
                Self::TargetNotConnected(fault::TargetNotConnected { target, region })
            }
            FaultKind::TargetNotFound { target, region } => {
                Self::TargetNotFound(fault::TargetNotFound { target, region })
            }
            FaultKind::RemoteRefused { remote } => Self::RemoteRefused(fault::RemoteRefused { remote }),
            FaultKind::RemoteUnresolvable { host } => {
                Self::RemoteUnresolvable(fault::RemoteUnresolvable { host })
            }
            FaultKind::RemoteForbidden { host } => Self::RemoteForbidden(fault::RemoteForbidden { host }),
            FaultKind::AgentUnresponsive => Self::AgentUnresponsive(fault::AgentUnresponsive {}),
            FaultKind::AgentUnsupported { version } => {
                Self::AgentUnsupported(fault::AgentUnsupported { version })
            }
            FaultKind::LocalReaderStalled => Self::LocalReaderStalled(fault::LocalReaderStalled {}),
            FaultKind::PortInUse { address, holder } => Self::PortInUse(fault::PortInUse { address, holder }),
            FaultKind::Network => Self::Network(fault::Network {}),
            FaultKind::Throttled => Self::Throttled(fault::Throttled {}),
            FaultKind::PeerViolation => Self::PeerViolation(fault::PeerViolation {}),
            FaultKind::SessionEnded => Self::SessionEnded(fault::SessionEnded {}),
            FaultKind::Internal => Self::Internal(fault::Internal {}),
            FaultKind::InvalidArgument { field } => Self::InvalidArgument(fault::InvalidArgument { field }),
            FaultKind::TunnelNotFound { tunnel } => Self::TunnelNotFound(fault::TunnelNotFound { tunnel }),
            FaultKind::TunnelExists { tunnel } => Self::TunnelExists(fault::TunnelExists { tunnel }),
            FaultKind::EtagMismatch { tunnel } => Self::EtagMismatch(fault::EtagMismatch { tunnel }),
            FaultKind::ShuttingDown => Self::ShuttingDown(fault::ShuttingDown {}),
            FaultKind::ConfirmationNeeded { tunnel, label } => {
                Self::ConfirmationNeeded(fault::ConfirmationNeeded { tunnel, label })
            }
            FaultKind::KeyStoreUnavailable { store } => {
                Self::KeyStoreUnavailable(fault::KeyStoreUnavailable { store })
            }
            FaultKind::SignInNotFound { sign_in } => Self::SignInNotFound(fault::SignInNotFound { sign_in }),
            FaultKind::LoginFailed { sign_in, end } => {
                Self::LoginFailed(fault::LoginFailed { sign_in, end: v1::LoginEnd::from(end).into() })
            }
            FaultKind::SectionExists { section } => Self::SectionExists(fault::SectionExists { section }),
        }
    }
}

impl From<Kind> for FaultKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::ProfileNotFound(fault::ProfileNotFound { profile }) => Self::ProfileNotFound { profile },
            Kind::CredentialsInvalid(fault::CredentialsInvalid { profile }) => {
                Self::CredentialsInvalid { profile }
            }
            Kind::SignInNeeded(fault::SignInNeeded { sign_in }) => Self::SignInNeeded { sign_in },
            Kind::PermissionDenied(fault::PermissionDenied { principal, action, resource }) => {
                Self::PermissionDenied { principal, action, resource }
            }
            Kind::TargetNotConnected(fault::TargetNotConnected { target, region }) => {
                Self::TargetNotConnected { target, region }
            }
            Kind::TargetNotFound(fault::TargetNotFound { target, region }) => {
                Self::TargetNotFound { target, region }
            }
            Kind::RemoteRefused(fault::RemoteRefused { remote }) => Self::RemoteRefused { remote },
            Kind::RemoteUnresolvable(fault::RemoteUnresolvable { host }) => Self::RemoteUnresolvable { host },
            Kind::RemoteForbidden(fault::RemoteForbidden { host }) => Self::RemoteForbidden { host },
            Kind::AgentUnresponsive(fault::AgentUnresponsive {}) => Self::AgentUnresponsive,
            Kind::AgentUnsupported(fault::AgentUnsupported { version }) => Self::AgentUnsupported { version },
            Kind::LocalReaderStalled(fault::LocalReaderStalled {}) => Self::LocalReaderStalled,
            Kind::PortInUse(fault::PortInUse { address, holder }) => Self::PortInUse { address, holder },
            Kind::Network(fault::Network {}) => Self::Network,
            Kind::Throttled(fault::Throttled {}) => Self::Throttled,
            Kind::PeerViolation(fault::PeerViolation {}) => Self::PeerViolation,
            Kind::SessionEnded(fault::SessionEnded {}) => Self::SessionEnded,
            Kind::Internal(fault::Internal {}) => Self::Internal,
            Kind::InvalidArgument(fault::InvalidArgument { field }) => Self::InvalidArgument { field },
            Kind::TunnelNotFound(fault::TunnelNotFound { tunnel }) => Self::TunnelNotFound { tunnel },
            Kind::TunnelExists(fault::TunnelExists { tunnel }) => Self::TunnelExists { tunnel },
            Kind::EtagMismatch(fault::EtagMismatch { tunnel }) => Self::EtagMismatch { tunnel },
            Kind::ShuttingDown(fault::ShuttingDown {}) => Self::ShuttingDown,
            Kind::ConfirmationNeeded(fault::ConfirmationNeeded { tunnel, label }) => {
                Self::ConfirmationNeeded { tunnel, label }
            }
            Kind::KeyStoreUnavailable(fault::KeyStoreUnavailable { store }) => {
                Self::KeyStoreUnavailable { store }
            }
            Kind::SignInNotFound(fault::SignInNotFound { sign_in }) => Self::SignInNotFound { sign_in },
            Kind::LoginFailed(failed) => {
                Self::LoginFailed { end: failed.end().into(), sign_in: failed.sign_in }
            }
            Kind::SectionExists(fault::SectionExists { section }) => Self::SectionExists { section },
        }
    }
}

impl From<LoginEnd> for v1::LoginEnd {
    fn from(end: LoginEnd) -> Self {
        match end {
            LoginEnd::Cancelled => Self::Cancelled,
            LoginEnd::TimedOut => Self::TimedOut,
            LoginEnd::Declined => Self::Declined,
            LoginEnd::Mismatch => Self::Mismatch,
            LoginEnd::NobodyThere => Self::NobodyThere,
            LoginEnd::DoesNotLast => Self::DoesNotLast,
            LoginEnd::Other => Self::Unspecified,
        }
    }
}

impl From<v1::LoginEnd> for LoginEnd {
    fn from(end: v1::LoginEnd) -> Self {
        match end {
            v1::LoginEnd::Cancelled => Self::Cancelled,
            v1::LoginEnd::TimedOut => Self::TimedOut,
            v1::LoginEnd::Declined => Self::Declined,
            v1::LoginEnd::Mismatch => Self::Mismatch,
            v1::LoginEnd::NobodyThere => Self::NobodyThere,
            v1::LoginEnd::DoesNotLast => Self::DoesNotLast,
            v1::LoginEnd::Unspecified => Self::Other,
        }
    }
}

impl From<Recovery> for v1::Recovery {
    fn from(recovery: Recovery) -> Self {
        match recovery {
            Recovery::Retry => Self::Retry,
            Recovery::SignIn => Self::SignIn,
            Recovery::FixByUser => Self::FixByUser,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use prost::Message;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn faults_read_back_as_written(fault in strategies::fault()) {
            prop_assert_eq!(Fault::try_from(v1::Fault::from(fault.clone())), Ok(fault));
        }
    }

    #[test]
    fn every_kind_reads_back_as_written() {
        for kind in FaultKind::one_of_each() {
            assert_eq!(FaultKind::from(Kind::from(kind.clone())), kind);
        }
    }

    /// Holds `FaultKind::one_of_each` and `FaultKind::name` to the contract: a kind that is missing there is missing
    /// in every test that goes through all kinds.
    #[test]
    fn the_kinds_are_those_of_the_contract() {
        let files = prost_types::FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap().file;
        let mut messages = files.iter().flat_map(|file| &file.message_type);
        let fault = messages.find(|message| message.name() == "Fault").unwrap();
        let fields = fault.field.iter().filter(|field| field.oneof_index.is_some());
        let contract: BTreeSet<&str> = fields.map(|field| field.name()).collect();
        let kinds = FaultKind::one_of_each();
        let model: BTreeSet<&str> = kinds.iter().map(FaultKind::name).collect();
        assert_eq!(model, contract);
    }

    #[test]
    fn an_unknown_kind_keeps_its_words() {
        let newer = v1::Fault { kind: None, headline: "the moon is full".to_owned(), ..Default::default() };
        assert_eq!(Fault::try_from(newer), Ok(Fault::internal("the moon is full")));
        assert!(Fault::try_from(v1::Fault::default()).is_err());
    }
}
