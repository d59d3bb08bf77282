//! The one place where errors of AWS and its SDK become faults.
//!
//! Only `Display` texts and error metadata are used, never `Debug`: that of an SDK error holds whole responses, tokens
//! included.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use stormtunnel_model::{Fault, FaultKind, Principal, Region, ResolvedTarget};

use crate::endpoint::ClearEndpoint;
use crate::quote::{quote, with_trust_hint};

/// Whose credentials were used, and where.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The profile; empty for the default credential chain.
    pub(crate) profile: String,
    /// Region of the call.
    pub(crate) region: Region,
}

/// What was asked of AWS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// The action as IAM calls it.
    pub(crate) action: &'static str,
    /// The node of a StartSession.
    pub(crate) node: Option<&'a ResolvedTarget>,
    /// The document of a StartSession.
    pub(crate) document: Option<&'static str>,
}

/// What an AWS error code stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Denied,
    Credentials(Flaw),
    NotConnected,
    Throttled,
    Document,
    Argument,
}

/// What is wrong with credentials that AWS refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// They were good.
    Expired,
    /// Of keys that are deactivated AWS says the same as of those that were deleted or never were.
    UnknownKey,
    /// The access key is known.
    WrongSecret,
    /// They did not reach AWS in a form that it reads.
    Unreadable,
}

impl Flaw {
    /// What is told of them, before what AWS said.
    fn in_words(self) -> &'static str {
        match self {
            Self::Expired => "they have expired",
            Self::UnknownKey => {
                "AWS does not know the access key: it is inactive, was deleted, or belongs to another partition"
            }
            Self::WrongSecret => "they are wrong: the secret key is not that of the access key",
            Self::Unreadable => "AWS cannot read them: a key is incomplete",
        }
    }
}

/// THE table of error codes. What is not in it is tried again, with the code in the detail.
const CODES: [(&str, Class); 27] = [
    ("AccessDenied", Class::Denied),
    ("AccessDeniedException", Class::Denied),
    ("UnauthorizedOperation", Class::Denied),
    ("NotAuthorized", Class::Denied),
    ("ExpiredToken", Class::Credentials(Flaw::Expired)),
    ("ExpiredTokenException", Class::Credentials(Flaw::Expired)),
    ("RequestExpired", Class::Credentials(Flaw::Expired)),
    ("UnrecognizedClientException", Class::Credentials(Flaw::UnknownKey)),
    ("InvalidClientTokenId", Class::Credentials(Flaw::UnknownKey)),
    ("AuthFailure", Class::Credentials(Flaw::UnknownKey)),
    ("InvalidAccessKeyId", Class::Credentials(Flaw::UnknownKey)),
    ("InvalidSignatureException", Class::Credentials(Flaw::WrongSecret)),
    ("SignatureDoesNotMatch", Class::Credentials(Flaw::WrongSecret)),
    ("IncompleteSignature", Class::Credentials(Flaw::Unreadable)),
    ("IncompleteSignatureException", Class::Credentials(Flaw::Unreadable)),
    ("MissingAuthenticationToken", Class::Credentials(Flaw::Unreadable)),
    ("MissingAuthenticationTokenException", Class::Credentials(Flaw::Unreadable)),
    ("TargetNotConnected", Class::NotConnected),
    ("Throttling", Class::Throttled),
    ("ThrottlingException", Class::Throttled),
    ("ThrottledException", Class::Throttled),
    ("TooManyRequestsException", Class::Throttled),
    ("RequestLimitExceeded", Class::Throttled),
    ("RequestThrottled", Class::Throttled),
    ("SlowDown", Class::Throttled),
    ("InvalidDocument", Class::Document),
    ("ValidationException", Class::Argument),
];

/// The fault behind a failed API call. `secrets` are cut out of what AWS said.
pub(crate) fn api_fault<E>(
    error: &SdkError<E, HttpResponse>,
    subject: &Subject,
    call: &Call<'_>,
    secrets: &[&str],
) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    if let (Some(code), Some(status)) = (error.code(), status) {
        let message = quote(error.message().unwrap_or_default(), secrets);
        return service_fault(code, status, &message, subject, call);
    }
    if let Some(status) = status {
        let detail =
            format!("HTTP {status}, and not an answer of AWS: is a proxy or a captive portal in between?");
        return Fault::new(FaultKind::Network, detail);
    }
    local_fault(error, subject, call, secrets)
}

/// AWS answered with an error.
fn service_fault(code: &str, status: u16, message: &str, subject: &Subject, call: &Call<'_>) -> Fault {
    let raw = || format!("AWS answered {code} (HTTP {status}){}{message}", separator(message));
    let said = || if message.is_empty() { code.to_owned() } else { message.to_owned() };
    let class = CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class);
    match class {
        Some(Class::Denied) => denied(message, call.action, said()),
        Some(Class::Credentials(flaw)) => Fault::new(
            FaultKind::CredentialsInvalid { profile: subject.profile.clone() },
            refused(flaw, &raw()),
        ),
        Some(Class::NotConnected) => {
            let target = call.node.map(ToString::to_string).unwrap_or_default();
            Fault::new(FaultKind::TargetNotConnected { target, region: subject.region.to_string() }, message)
        }
        Some(Class::Throttled) => Fault::new(FaultKind::Throttled, raw()),
        Some(Class::Document) => {
            let document = call.document.unwrap_or("of the session");
            let detail = format!("AWS does not offer document {document} in {}: {}", subject.region, said());
            Fault::new(FaultKind::InvalidArgument { field: "document".to_owned() }, detail)
        }
        Some(Class::Argument) => {
            Fault::new(FaultKind::InvalidArgument { field: argument_in(message).to_owned() }, raw())
        }
        None => Fault::new(FaultKind::Network, raw()),
    }
}

/// Nothing came back: the network, the credentials, or our own configuration.
pub(crate) fn local_fault(
    error: &(dyn Error + 'static),
    subject: &Subject,
    call: &Call<'_>,
    secrets: &[&str],
) -> Fault {
    if let Some(clear) = find::<ClearEndpoint>(error) {
        let detail = format!("{clear}; correct endpoint_url of the profile or of its services section");
        return Fault::new(FaultKind::InvalidArgument { field: "endpoint_url".to_owned() }, detail);
    }
    // Whoever put one there knows best: the proxy was in the way.
    if let Some(fault) = find::<Fault>(error) {
        return fault.clone();
    }
    if let Some(error) = find::<CredentialsError>(error) {
        return credentials_fault(error, subject, secrets);
    }
    let text = chain(error);
    if is_unresolved(&text) {
        let detail = format!(
            "the {service} endpoint of {region} cannot be found in DNS: is {region} a region?",
            service = service_of(call.action),
            region = subject.region
        );
        return Fault::new(FaultKind::Network, detail);
    }
    if text.contains("timed out") || text.contains("timeout") {
        return Fault::new(FaultKind::Network, format!("no answer to {} in time", call.action));
    }
    Fault::new(FaultKind::Network, quote(&with_trust_hint(text), secrets))
}

/// The service that an action is of, as people call it.
fn service_of(action: &str) -> &'static str {
    match action.split_once(':') {
        Some(("ec2", _)) => "EC2",
        Some(("ecs", _)) => "ECS",
        Some(("sso", _)) => "AWS access portal",
        Some(("sso-oauth", _)) => "SSO-OIDC",
        Some(("sts", _)) => "STS",
        Some(_) | None => "Session Manager",
    }
}

/// The fault behind credentials that could not be had. What is left to the SDK are keys in the environment, containers and
/// instances; all else is ours, and says itself what is wrong.
pub(crate) fn credentials_fault(error: &CredentialsError, subject: &Subject, secrets: &[&str]) -> Fault {
    // A provider of ours knows best.
    if let Some(fault) = find::<Fault>(error) {
        return fault.clone();
    }
    let text = chain(error);
    let detail = with_machine_hint(quote(&text, secrets));
    if CODES.iter().any(|(code, class)| *class == Class::Throttled && text.contains(code)) {
        return Fault::new(FaultKind::Throttled, detail);
    }
    if is_unresolved(&text) || is_stalled(error) || NO_ANSWER.iter().any(|sign| text.contains(sign)) {
        return Fault::new(FaultKind::Network, detail);
    }
    let detail = match flaw_in(&text) {
        Some(flaw) => refused(flaw, &detail),
        None if is_missing(error) => format!("there are none: {detail}"),
        None => detail,
    };
    let detail = if subject.profile.is_empty() { format!("{detail} {NO_PROFILE}") } else { detail };
    Fault::new(FaultKind::CredentialsInvalid { profile: subject.profile.clone() }, detail)
}

/// What the SDK says of credentials that the machine should have, and what that means here.
const OF_MACHINE: [(&str, &str); 7] = [
    (
        "no credentials found in chain",
        "the profile says nothing about credentials, and neither a container nor an instance with a role gives any",
    ),
    (
        "environment variable not set",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the daemon's environment; where they are, start it with \
         STORMTUNNEL_AWS_ENVIRONMENT=1, which keeps them",
    ),
    (
        "ECS provider not configured",
        "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is in the daemon's environment; \
         where one is, start it with STORMTUNNEL_AWS_ENVIRONMENT=1, which keeps it",
    ),
    (
        "Non-success status from HTTP credential provider",
        "the container's credentials are refused: are AWS_CONTAINER_CREDENTIALS_FULL_URI and AWS_CONTAINER_AUTHORIZATION_TOKEN \
         still right?",
    ),
    ("IMDS disabled by AWS_EC2_METADATA_DISABLED", "start the daemon without that variable"),
    ("received 404 from IMDS", "the instance has no role: attach an instance profile to it"),
    ("could not communicate with IMDS", "is this an EC2 instance, and is its metadata service switched on?"),
];

fn with_machine_hint(detail: String) -> String {
    match OF_MACHINE.iter().find(|(said, _)| detail.contains(said)) {
        Some((_, hint)) => format!("{detail} ({hint})"),
        None => detail,
    }
}

/// What the SDK says when no answer came, or not a whole one.
const NO_ANSWER: [&str; 3] = ["dispatch failure", "request has timed out", "response error"];

/// Whether nobody had any to provide.
pub(crate) fn is_missing(error: &CredentialsError) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(CredentialsError::CredentialsNotLoaded(_))))
}

/// Whether a provider took too long, at whatever depth of the chain.
fn is_stalled(error: &CredentialsError) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(CredentialsError::ProviderTimedOut(_))))
}

/// What to do where neither the tunnel nor the settings name a profile.
const NO_PROFILE: &str = "(no profile is named: `stctl tunnel edit NAME --profile PROFILE` names one, \
                          `stctl settings set aws.default_profile PROFILE` names one for all tunnels)";

/// The fault behind an upgrade that was answered with something else than a WebSocket. `error_type` is the header
/// `x-amzn-ErrorType`.
pub(crate) fn upgrade_fault(
    status: u16,
    error_type: Option<&str>,
    body: &str,
    subject: &Subject,
    secrets: &[&str],
) -> Fault {
    let text = format!("{} {body}", error_type.unwrap_or_default());
    let said = quote(body, secrets);
    let detail = format!("the data channel was refused with HTTP {status}{}{said}", separator(&said));
    let throttled = CODES.iter().any(|(code, class)| *class == Class::Throttled && text.contains(code));
    let flaw = flaw_in(&text);
    let lower = text.to_ascii_lowercase();
    let about_credentials =
        ["security token", "signature", "expired"].iter().any(|word| lower.contains(word));
    if throttled || status == 429 {
        Fault::new(FaultKind::Throttled, detail)
    } else if status == 401 || (status == 403 && (flaw.is_some() || about_credentials)) {
        Fault::new(
            FaultKind::CredentialsInvalid { profile: subject.profile.clone() },
            flaw.map_or_else(|| with_clock_hint(detail.clone()), |flaw| refused(flaw, &detail)),
        )
    } else if status == 403 {
        denied(&said, "ssmmessages:OpenDataChannel", detail)
    } else {
        Fault::new(FaultKind::Network, detail)
    }
}

const NOT_AUTHORIZED: &str = " is not authorized to perform: ";

/// Takes apart `User: P is not authorized to perform: A on resource: R because …`. What the text does not tell stays
/// empty; `action` is what was asked for.
fn denied(text: &str, action: &str, detail: impl Into<String>) -> Fault {
    let word = |text: &str| {
        // The sentence may stand in JSON.
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',');
        text.split(ends).next().unwrap_or_default().trim_end_matches('.').to_owned()
    };
    let (before, after) = text.split_once(NOT_AUTHORIZED).unwrap_or_default();
    let principal = before.rsplit_once("User: ").map(|(_, user)| word(user)).unwrap_or_default();
    let named = word(after);
    let resource = after.split_once("on resource: ").map(|(_, resource)| word(resource)).unwrap_or_default();
    let action = if named.is_empty() { action.to_owned() } else { named };
    let mut detail = detail.into();
    if let Some((set, account)) = permission_set(&principal) {
        detail.push_str(&format!(
            "{}the administrator allows it in permission set {set} for account {account}",
            separator(&detail)
        ));
    }
    Fault::new(FaultKind::PermissionDenied { principal, action, resource }, detail)
}

/// What a role of IAM Identity Center was made of, and the account: what its administrator has to be told.
fn permission_set(principal: &str) -> Option<(String, String)> {
    let principal: Principal = principal.parse().ok().filter(|_| principal.contains("/AWSReservedSSO_"))?;
    Some((principal.role()?.to_owned(), principal.account()?.to_owned()))
}

/// `Value '…' at 'target' failed to satisfy constraint`: the field, as the API of ours calls it.
fn argument_in(message: &str) -> &str {
    let field = message.split_once(" at '").and_then(|(_, rest)| rest.split('\'').next());
    field.filter(|field| !field.is_empty()).unwrap_or("session")
}

fn separator(message: &str) -> &'static str {
    if message.is_empty() { "" } else { ": " }
}

/// A clock that is off by five minutes makes every signature wrong, and AWS says so in many words.
fn with_clock_hint(detail: String) -> String {
    let about_time = ["Signature expired", "Signature not yet current", "RequestExpired"];
    if about_time.iter().any(|text| detail.contains(text)) {
        format!("{detail} (is this computer's clock right?)")
    } else {
        detail
    }
}

/// What is wrong with credentials, by the code in what AWS said.
fn flaw_in(text: &str) -> Option<Flaw> {
    CODES.iter().find_map(|(code, class)| {
        let Class::Credentials(flaw) = class else { return None };
        text.contains(code).then_some(*flaw)
    })
}

/// What AWS said of credentials, and what that means; of signatures whose time is wrong nothing is known but that.
fn refused(flaw: Flaw, said: &str) -> String {
    let hinted = with_clock_hint(said.to_owned());
    if hinted == said { format!("{}: {said}", flaw.in_words()) } else { hinted }
}

fn is_unresolved(text: &str) -> bool {
    text.contains("dns error") || text.contains("failed to lookup address")
}

/// The error and what is behind it.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// An error of this type among the causes.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// All causes, from the outermost on, each text once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(separator(&text));
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
