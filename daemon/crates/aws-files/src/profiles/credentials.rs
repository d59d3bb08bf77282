//! Where a profile's credentials come from.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use stormtunnel_model::{Profile as ProfileName, ProfileKind, Region, SignInName};

use crate::ini::shell;

/// A source, and the roles that are assumed from there. No `Debug`: keys may be in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The profile that holds the source: the last one of a chain of `source_profile`, else the profile itself.
    pub holder: ProfileName,
    /// What is asked first.
    pub source: Source,
    /// The roles to assume, in this order, each with the credentials of the one before.
    pub roles: Vec<Role>,
}

/// What credentials come from without assuming a role through STS's AssumeRole. No `Debug`, as [`Credentials`].
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A role of IAM Identity Center.
    Sso(SsoRole),
    /// A role assumed with a token from a file.
    WebIdentity(WebIdentity),
    /// Keys that stand in a file.
    Static(StaticKeys),
    /// `aws login`: the ARN whose session is in its cache.
    LoginSession(String),
    /// A program that prints them.
    Process(CredentialProcess),
    /// `credential_source = Environment`.
    Environment,
    /// `credential_source = EcsContainer`.
    EcsContainer,
    /// `credential_source = Ec2InstanceMetadata`.
    Ec2Metadata,
    /// The profile says nothing: what the machine has, container first, then instance.
    Ambient,
}

/// A permission set in an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SsoRole {
    /// Whose token it takes.
    pub sign_in: SignInName,
    /// Where that signs in: another address is another login, whatever its name.
    pub start_url: String,
    /// Where the portal is; not where the profile's resources are.
    pub region: Region,
    /// The account's number, twelve digits.
    pub account: String,
    /// Name of the role, which is that of the permission set.
    pub role: String,
}

/// `web_identity_token_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// The file with the token, as it was written.
    pub token_file: String,
    /// The role.
    pub role_arn: String,
    /// Name of the role's session, if it shall not be ours.
    pub session_name: Option<String>,
}

/// Access keys. No `Debug`.
#[derive(Clone)]
pub struct StaticKeys {
    /// The key's id, which is no secret.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: SecretString,
    /// Keys with one end with it.
    pub session_token: Option<SecretString>,
}

/// `credential_process`. No `Debug`: programs are given secrets as arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialProcess {
    arguments: Vec<String>,
}

/// One AssumeRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The profile that asks for it.
    pub profile: ProfileName,
    /// `role_arn`.
    pub arn: String,
    /// `external_id`.
    pub external_id: Option<String>,
    /// `mfa_serial`: somebody has to type a code.
    pub mfa_serial: Option<String>,
    /// `role_session_name`, if it shall not be ours.
    pub session_name: Option<String>,
    /// `duration_seconds`, from 15 minutes to 12 hours.
    pub duration: Option<Duration>,
}

impl Credentials {
    /// Where they come from, in one word.
    pub fn kind(&self) -> ProfileKind {
        if self.roles.is_empty() { self.source.kind() } else { ProfileKind::AssumeRole }
    }

    /// The sign-in that it takes.
    pub fn sign_in(&self) -> Option<&SignInName> {
        match &self.source {
            Source::Sso(role) => Some(&role.sign_in),
            Source::WebIdentity(_)
            | Source::Static(_)
            | Source::LoginSession(_)
            | Source::Process(_)
            | Source::Environment
            | Source::EcsContainer
            | Source::Ec2Metadata
            | Source::Ambient => None,
        }
    }
}

impl Source {
    /// The kind of a profile that assumes no role.
    pub fn kind(&self) -> ProfileKind {
        match self {
            Self::Sso(_) => ProfileKind::Sso,
            Self::WebIdentity(_) => ProfileKind::WebIdentity,
            Self::Static(StaticKeys { session_token: None, .. }) => ProfileKind::Static,
            Self::Static(StaticKeys { session_token: Some(_), .. }) => ProfileKind::Temporary,
            Self::LoginSession(_) => ProfileKind::LoginSession,
            Self::Process(_) => ProfileKind::CredentialProcess,
            Self::Environment => ProfileKind::Environment,
            Self::EcsContainer => ProfileKind::EcsContainer,
            Self::Ec2Metadata => ProfileKind::Ec2Metadata,
            Self::Ambient => ProfileKind::Ambient,
        }
    }
}

impl PartialEq for StaticKeys {
    fn eq(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.secret_access_key.expose_secret() == other.secret_access_key.expose_secret()
            && self.session_token.as_ref().map(SecretString::expose_secret)
                == other.session_token.as_ref().map(SecretString::expose_secret)
    }
}

impl Eq for StaticKeys {}

impl CredentialProcess {
    /// Splits the command as the AWS CLI does, which runs it without a shell. `None` if a quote is left open or there is no
    /// program.
    pub(crate) fn new(command: &str) -> Option<Self> {
        shell::split(command).filter(|words| !words.is_empty()).map(|arguments| Self { arguments })
    }

    /// The program and its arguments.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }
}
