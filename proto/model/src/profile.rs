//! Profiles of the AWS files, and whether their credentials are any good.

use std::fmt;

use crate::fault::Fault;
use crate::ids::{Principal, Timestamp};
use crate::name::{Profile, Region};
use crate::sign_in::SignInName;

/// A profile, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsProfile {
    /// Its name.
    pub name: Profile,
    /// Where its credentials come from; absent where the files do not say it in a way that can be used.
    pub kind: Option<ProfileKind>,
    /// Its region; absent where the files name none.
    pub region: Option<Region>,
    /// The sign-in whose token it takes.
    pub sign_in: Option<SignInName>,
    /// The account that it is configured for; absent where only AWS knows it.
    pub account: Option<String>,
    /// The permission set or role that it is configured for, likewise.
    pub role: Option<String>,
    /// What is true of its credentials now.
    pub state: ProfileState,
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileKind {
    /// A role of IAM Identity Center.
    Sso,
    /// A role that is assumed with the credentials of another source.
    AssumeRole,
    /// A role that is assumed with a token from a file.
    WebIdentity,
    /// Keys that stand in a file and have no end.
    Static,
    /// Keys that stand in a file and end with their session token.
    Temporary,
    /// `aws login`.
    LoginSession,
    /// A program that prints them.
    CredentialProcess,
    /// Variables of the daemon's environment.
    Environment,
    /// The container that the daemon runs in.
    EcsContainer,
    /// The instance that the daemon runs on.
    Ec2Metadata,
    /// The profile says nothing: what the machine has.
    Ambient,
}

/// What is true of a profile's credentials now; never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileState {
    /// AWS took them.
    Connected {
        /// Who AWS takes them for.
        principal: Principal,
        /// When AWS said so.
        at: Timestamp,
    },
    /// AWS is being asked, or is about to be.
    Checking,
    /// They are of no use.
    Invalid {
        /// Why, and what to do about it.
        fault: Fault,
    },
    /// It could not be found out.
    Unknown {
        /// Why.
        fault: Fault,
    },
    /// Nobody asked yet, and it is not asked by itself.
    Unchecked {
        /// Why not.
        why: OnDemand,
    },
}

/// Why a profile is checked only when somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnDemand {
    /// A person would have to type an MFA code.
    AsksForCode,
    /// A program of somebody else would run (`credential_process`).
    RunsProgram,
    /// A token would be renewed, and `auto_refresh` is off.
    RenewsToken,
    /// One that only a newer daemon knows. No daemon says it.
    Other,
}

/// Something in the AWS files that a person should mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// The file.
    pub file: String,
    /// The line, from 1; absent where it is about the whole file.
    pub line: Option<u32>,
    /// What is wrong and what to do, as a sentence part.
    pub text: String,
}

/// All profiles, and what is wrong in their files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileList {
    /// Ordered by name.
    pub profiles: Vec<AwsProfile>,
    /// In the order of the files.
    pub problems: Vec<FileProblem>,
}

/// What the profile of a question was chosen by, where the question named none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileRule {
    /// The question named it.
    Asked,
    /// The setting `aws.default_profile`.
    Setting,
    /// Nothing names one: `default`, and where the files have none of that name, what the machine has.
    Default,
    /// One that only a newer daemon knows. No daemon says it.
    Other,
}

/// A profile after AWS was asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedProfile {
    /// The profile.
    pub profile: AwsProfile,
    /// What it was chosen by.
    pub rule: ProfileRule,
}

impl AwsProfile {
    /// The account: as AWS says, else as it is configured.
    pub fn shown_account(&self) -> Option<&str> {
        self.state.principal().and_then(Principal::account).or(self.account.as_deref())
    }

    /// The role: as it is configured, else as AWS says.
    pub fn shown_role(&self) -> Option<&str> {
        self.role.as_deref().or_else(|| self.state.principal()?.role())
    }
}

impl ProfileKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Sso,
        Self::AssumeRole,
        Self::WebIdentity,
        Self::Static,
        Self::Temporary,
        Self::LoginSession,
        Self::CredentialProcess,
        Self::Environment,
        Self::EcsContainer,
        Self::Ec2Metadata,
        Self::Ambient,
    ];

    /// Its name in tables and documents; stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sso => "sso",
            Self::AssumeRole => "assume-role",
            Self::WebIdentity => "web-identity",
            Self::Static => "static",
            Self::Temporary => "temporary",
            Self::LoginSession => "login-session",
            Self::CredentialProcess => "credential-process",
            Self::Environment => "environment",
            Self::EcsContainer => "ecs-container",
            Self::Ec2Metadata => "ec2-metadata",
            Self::Ambient => "ambient",
        }
    }
}

impl ProfileState {
    /// The state's name, as shown to people.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "Connected",
            Self::Checking => "Checking",
            Self::Invalid { .. } => "Invalid",
            Self::Unknown { .. } => "Unknown",
            Self::Unchecked { .. } => "Not checked",
        }
    }

    /// Who AWS takes the credentials for.
    pub fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Connected { principal, .. } => Some(principal),
            Self::Checking | Self::Invalid { .. } | Self::Unknown { .. } | Self::Unchecked { .. } => None,
        }
    }

    /// What is wrong.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Invalid { fault } | Self::Unknown { fault } => Some(fault),
            Self::Connected { .. } | Self::Checking | Self::Unchecked { .. } => None,
        }
    }
}

impl OnDemand {
    /// As a sentence part.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::AsksForCode => "it asks for an MFA code",
            Self::RunsProgram => "it runs a program (credential_process)",
            Self::RenewsToken => "it would renew the token, and auto_refresh is off",
            Self::Other => "it is checked only when somebody asks",
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.iter().try_for_each(|line| write!(f, ":{line}"))?;
        write!(f, ": {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(state: ProfileState) -> AwsProfile {
        AwsProfile {
            name: "p".parse().unwrap(),
            kind: Some(ProfileKind::Sso),
            region: None,
            sign_in: None,
            account: Some("111111111111".to_owned()),
            role: None,
            state,
        }
    }

    #[test]
    fn what_aws_says_of_the_account_beats_what_is_configured() {
        let principal = "arn:aws:sts::222222222222:assumed-role/Dev/ada".parse().unwrap();
        let connected = profile(ProfileState::Connected { principal, at: Timestamp::from_millis(1) });
        assert_eq!((connected.shown_account(), connected.shown_role()), (Some("222222222222"), Some("Dev")));
        let checking = profile(ProfileState::Checking);
        assert_eq!((checking.shown_account(), checking.shown_role()), (Some("111111111111"), None));
    }

    #[test]
    fn the_names_of_kinds_differ() {
        let names: std::collections::BTreeSet<_> = ProfileKind::ALL.map(ProfileKind::name).into();
        assert_eq!(names.len(), ProfileKind::ALL.len());
    }

    #[test]
    fn a_problem_begins_with_its_place() {
        let problem = |line| FileProblem { file: "config".to_owned(), line, text: "it is odd".to_owned() };
        assert_eq!(problem(Some(3)).to_string(), "config:3: it is odd");
        assert_eq!(problem(None).to_string(), "config: it is odd");
    }
}
