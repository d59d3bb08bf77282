//! What the errors of SSO-OIDC and of the access portal mean: tried again, ended by a login, or by a person's hand.

use stormtunnel_model::{Fault, FaultKind, Recovery, SignInName, Timestamp};

/// An error of SSO-OIDC or of the access portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SsoError {
    /// AWS answered.
    Service(ServiceError),
    /// It did not: the network, or our own configuration.
    Local(Fault),
}

/// What AWS answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// The exception, such as `InvalidGrantException`, or the code in the body, such as `invalid_grant`; may be empty.
    pub code: String,
    /// The reason beside it, such as `KMS_AccessDeniedException`; may be empty.
    pub reason: String,
    /// What it said, secrets cut out; may be empty.
    pub message: String,
}

/// Why a token was not renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshFailure {
    /// The refresh token is used up or revoked, or the session at the portal is over.
    GrantGone,
    /// The client is not registered any more.
    ClientGone,
    /// AWS refuses, and a person has to change something.
    Refused(Fault),
    /// AWS asked to slow down.
    Throttled(Fault),
    /// It passes: the network, or trouble at AWS.
    Unreachable(Fault),
}

/// Why nobody is signed in after a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// Somebody cancelled it.
    Cancelled,
    /// Nobody finished it in time.
    TimedOut,
    /// The person, or the identity provider, said no.
    Declined,
    /// The client is not registered any more; a new registration helps.
    ClientGone,
    /// The browser came back with the answer to another question.
    Mismatch,
    /// AWS refuses, and a person has to change something.
    Refused(Fault),
    /// It passes: the network, or trouble at AWS.
    Unreachable(Fault),
    /// Nobody is there to sign in.
    NobodyThere,
    /// Logins do not last; no other one is begun before that time.
    DoesNotLast {
        /// When.
        until: Timestamp,
    },
}

/// What a poll with a device code answers while there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll {
    /// The person is not done.
    Pending,
    /// The same, and polls are to come more slowly.
    SlowDown,
    /// This poll failed, the next one may not.
    Again(Fault),
    /// There will be none.
    Over(LoginFailure),
}

/// Why the access portal gave nothing for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortalFailure {
    /// It does not accept the token.
    TokenRejected,
    /// The person has no such role in that account. A login changes nothing.
    NoAssignment(Fault),
    /// The request cannot be right.
    Invalid(Fault),
    /// AWS asked to slow down.
    Throttled(Fault),
    /// It passes: the network, or trouble at AWS.
    Unreachable(Fault),
}

/// Answers of SSO-OIDC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Pending,
    SlowDown,
    Expired,
    Denied,
    Grant,
    Client,
    /// Where the request went, or something else of it.
    Request,
    /// The scopes that were asked for.
    Scopes,
    /// The way to sign in.
    Flow,
    Server,
}

/// THE table of SSO-OIDC: the exception, the code in the body, what it stands for. SDKs tell the first, other readers of the
/// wire the second.
const OIDC: [(&str, &str, Answer); 13] = [
    ("AuthorizationPendingException", "authorization_pending", Answer::Pending),
    ("SlowDownException", "slow_down", Answer::SlowDown),
    ("ExpiredTokenException", "expired_token", Answer::Expired),
    ("AccessDeniedException", "access_denied", Answer::Denied),
    ("InvalidGrantException", "invalid_grant", Answer::Grant),
    ("InvalidClientException", "invalid_client", Answer::Client),
    ("UnauthorizedClientException", "unauthorized_client", Answer::Client),
    ("InvalidRequestException", "invalid_request", Answer::Request),
    ("InvalidScopeException", "invalid_scope", Answer::Scopes),
    ("UnsupportedGrantTypeException", "unsupported_grant_type", Answer::Flow),
    ("InvalidClientMetadataException", "invalid_client_metadata", Answer::Flow),
    ("InvalidRedirectUriException", "invalid_redirect_uri", Answer::Flow),
    ("InternalServerException", "server_error", Answer::Server),
];

fn answer(error: &ServiceError) -> Answer {
    let known = OIDC.iter().find(|(exception, code, _)| [*exception, *code].contains(&error.code.as_str()));
    match (known, error.status) {
        (Some((_, _, answer)), _) => *answer,
        (None, 429) => Answer::SlowDown,
        (None, 400..=499) if !error.code.is_empty() && error.status != 408 => Answer::Request,
        // Without a code it is a proxy's or a captive portal's.
        (None, _) => Answer::Server,
    }
}

/// Why a renewal failed.
pub fn refresh_failure(error: SsoError) -> RefreshFailure {
    let error = match error {
        SsoError::Service(error) => error,
        SsoError::Local(fault) if fault.recovery() == Recovery::Retry => {
            return RefreshFailure::Unreachable(fault);
        }
        SsoError::Local(fault) => return RefreshFailure::Refused(fault),
    };
    match answer(&error) {
        Answer::Grant | Answer::Expired => RefreshFailure::GrantGone,
        Answer::Client => RefreshFailure::ClientGone,
        Answer::Denied => RefreshFailure::Refused(denied(&error)),
        Answer::Request | Answer::Scopes | Answer::Flow => RefreshFailure::Refused(mistaken(&error)),
        Answer::SlowDown => RefreshFailure::Throttled(throttled(&error)),
        Answer::Pending | Answer::Server => RefreshFailure::Unreachable(unreachable(&error)),
    }
}

/// Why a step of a login failed: a registration, the start of a device login, the exchange of a code.
pub fn login_failure(error: SsoError) -> LoginFailure {
    let error = match error {
        SsoError::Service(error) => error,
        SsoError::Local(fault) if fault.recovery() == Recovery::Retry => {
            return LoginFailure::Unreachable(fault);
        }
        SsoError::Local(fault) => return LoginFailure::Refused(fault),
    };
    match answer(&error) {
        Answer::Denied if error.reason.is_empty() => LoginFailure::Declined,
        Answer::Denied => LoginFailure::Refused(denied(&error)),
        Answer::Expired => LoginFailure::TimedOut,
        Answer::Client => LoginFailure::ClientGone,
        // A code is used at once and by nobody else: what is wrong is where it was taken to.
        Answer::Grant | Answer::Request | Answer::Scopes | Answer::Flow => {
            LoginFailure::Refused(mistaken(&error))
        }
        Answer::SlowDown => LoginFailure::Unreachable(throttled(&error)),
        Answer::Pending | Answer::Server => LoginFailure::Unreachable(unreachable(&error)),
    }
}

/// What to do after a poll that brought no token.
pub fn poll(error: SsoError) -> Poll {
    match &error {
        SsoError::Service(service) => match answer(service) {
            Answer::Pending => Poll::Pending,
            Answer::SlowDown => Poll::SlowDown,
            Answer::Server => Poll::Again(unreachable(service)),
            Answer::Expired
            | Answer::Denied
            | Answer::Grant
            | Answer::Client
            | Answer::Request
            | Answer::Scopes
            | Answer::Flow => Poll::Over(login_failure(error)),
        },
        SsoError::Local(fault) if fault.recovery() == Recovery::Retry => Poll::Again(fault.clone()),
        SsoError::Local(_) => Poll::Over(login_failure(error)),
    }
}

/// Why the access portal gave nothing. It answers 401 for every token that it does not know, whatever the clock says.
pub fn portal_failure(error: SsoError) -> PortalFailure {
    let error = match error {
        SsoError::Service(error) => error,
        SsoError::Local(fault) if fault.recovery() == Recovery::Retry => {
            return PortalFailure::Unreachable(fault);
        }
        SsoError::Local(fault) => return PortalFailure::Invalid(fault),
    };
    match (error.status, error.code.as_str()) {
        (401, _) | (_, "UnauthorizedException") => PortalFailure::TokenRejected,
        (403, _) | (_, "ForbiddenException") | (404, "ResourceNotFoundException") => {
            let kind = FaultKind::PermissionDenied {
                principal: String::new(),
                action: "sso:GetRoleCredentials".to_owned(),
                resource: String::new(),
            };
            PortalFailure::NoAssignment(Fault::new(kind, said(&error)))
        }
        (429, _) | (_, "TooManyRequestsException") => PortalFailure::Throttled(throttled(&error)),
        (400, code) if !code.is_empty() => PortalFailure::Invalid(mistaken(&error)),
        _ => PortalFailure::Unreachable(unreachable(&error)),
    }
}

impl LoginFailure {
    /// The fault of whoever needed that login.
    pub fn fault(&self, sign_in: &SignInName) -> Fault {
        let detail = match self {
            Self::Refused(fault) | Self::Unreachable(fault) => return fault.clone(),
            Self::Cancelled => "the login was cancelled",
            Self::TimedOut => "nobody finished the login in time",
            Self::Declined => "the login was declined in the browser, or by the identity provider",
            Self::ClientGone => "AWS does not know the client that was registered for the login a moment ago",
            Self::Mismatch => "the browser came back with the answer to another login",
            Self::NobodyThere => "nobody is there to sign in",
            Self::DoesNotLast { .. } => {
                "several logins within ten minutes did not last, so that no browser is opened for a while; check the \
                 start URL, the clock of this machine, and how long the identity provider lets a session live"
            }
        };
        Fault::new(FaultKind::SignInNeeded { sign_in: sign_in.to_string() }, detail)
    }
}

impl RefreshFailure {
    /// Who can end it.
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::GrantGone | Self::ClientGone => Recovery::SignIn,
            Self::Refused(_) => Recovery::FixByUser,
            Self::Throttled(_) | Self::Unreachable(_) => Recovery::Retry,
        }
    }
}

fn denied(error: &ServiceError) -> Fault {
    let kind = FaultKind::PermissionDenied {
        principal: String::new(),
        action: "sso-oauth:CreateToken".to_owned(),
        resource: String::new(),
    };
    Fault::new(kind, with_key(error))
}

/// The request went to the wrong place, or asked for the wrong thing.
fn mistaken(error: &ServiceError) -> Fault {
    let (field, hint) = match answer(error) {
        Answer::Scopes => {
            ("sso_registration_scopes", "does this IAM Identity Center instance know these scopes?")
        }
        Answer::Flow => {
            ("flow", "this IAM Identity Center instance does not take this way to sign in; try the other one")
        }
        Answer::Pending
        | Answer::SlowDown
        | Answer::Expired
        | Answer::Denied
        | Answer::Grant
        | Answer::Client
        | Answer::Request
        | Answer::Server => {
            ("sso_region", "is this the region of the IAM Identity Center instance, and its start URL?")
        }
    };
    let kind = FaultKind::InvalidArgument { field: field.to_owned() };
    if error.reason.is_empty() {
        Fault::new(kind, format!("{}; {hint}", said(error)))
    } else {
        Fault::new(kind, with_key(error))
    }
}

/// Reasons are about the key that encrypts the instance.
fn with_key(error: &ServiceError) -> String {
    if error.reason.is_empty() {
        said(error)
    } else {
        let reason = &error.reason;
        format!(
            "{}; {reason}: an administrator has to look at the KMS key of IAM Identity Center",
            said(error)
        )
    }
}

fn throttled(error: &ServiceError) -> Fault {
    Fault::new(FaultKind::Throttled, said(error))
}

fn unreachable(error: &ServiceError) -> Fault {
    Fault::new(FaultKind::Network, said(error))
}

fn said(error: &ServiceError) -> String {
    let ServiceError { status, code, message, .. } = error;
    if code.is_empty() {
        return format!(
            "HTTP {status}, and not an answer of AWS: is a proxy or a captive portal in between?"
        );
    }
    let separator = if message.is_empty() { "" } else { ": " };
    format!("AWS answered {code} (HTTP {status}){separator}{message}")
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
