//! The token service of IAM (STS): the Query protocol in, XML out.

use axum::body::Body;
use http::request::Parts;
use http::{Response, StatusCode};
use time::Duration;

use super::xml::{CONTENT_TYPE, Parameters, escaped, parameters};
use crate::clock;
use crate::config::Role;
use crate::credentials::{AccessKey, Identity};
use crate::sigv4::Rejection;
use crate::trouble::{Operation, Refusal, answer, meet};
use crate::world::World;

/// The version that every call of this API names.
const VERSION: &str = "2011-06-15";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// What a session lasts when the caller names no time, and when a role assumed the role, in seconds.
const HOUR: u32 = 3600;
const SHORTEST: u32 = 900;
const LONGEST: u32 = 12 * HOUR;

/// Who calls.
struct Caller {
    identity: Identity,
    /// With a temporary key.
    temporary: bool,
}

/// Whether a call in the Query protocol is for this service.
pub(super) fn is_meant(body: &[u8]) -> bool {
    parameters(body).get("Version").is_some_and(|version| version == VERSION)
}

pub(super) async fn call(world: &World, parts: &Parts, body: &[u8]) -> Response<Body> {
    let parameters = parameters(body);
    match parameters.get("Action").map(String::as_str).unwrap_or_default() {
        "AssumeRole" => {
            let work = async { assume_role(world, &caller(world, parts, body)?, &parameters) };
            meet(world, Operation::AssumeRole, form, work).await
        }
        "AssumeRoleWithWebIdentity" => {
            let work = async { assume_role_with_web_identity(world, &parameters) };
            meet(world, Operation::AssumeRoleWithWebIdentity, form, work).await
        }
        "GetCallerIdentity" => {
            let work = async { Ok(get_caller_identity(&caller(world, parts, body)?)) };
            meet(world, Operation::GetCallerIdentity, form, work).await
        }
        other => form(&bad_request("InvalidAction", format!("Could not find operation {other}"))),
    }
}

fn caller(world: &World, parts: &Parts, body: &[u8]) -> Result<Caller, Refusal> {
    let signer = super::check_signature(world, "sts", parts, body).map_err(|why| rejected(&why))?;
    let temporary = signer.key_id.starts_with("ASIA");
    Ok(Caller { identity: world.identity(&signer.key_id), temporary })
}

/// Everybody with valid keys may ask this, whatever is denied.
fn get_caller_identity(caller: &Caller) -> Response<Body> {
    let Identity { arn, user_id } = &caller.identity;
    let account = caller.identity.account();
    result("GetCallerIdentity", &elements(&[("Arn", arn), ("UserId", user_id), ("Account", account)]))
}

fn assume_role(world: &World, caller: &Caller, parameters: &Parameters) -> Result<Response<Body>, Refusal> {
    let asked = Asked::read(parameters)?;
    let refused = || {
        let (who, role) = (&caller.identity.arn, asked.role);
        denied(format!("User: {who} is not authorized to perform: sts:AssumeRole on resource: {role}"))
    };
    let role = role_of(world, asked.role).filter(|_| !world.denies("sts:AssumeRole")).ok_or_else(refused)?;
    let trusted = role.trusts.iter().any(|begin| caller.identity.arn.starts_with(begin.as_str()));
    let known = role.external_id.is_none() || role.external_id.as_ref() == parameters.get("ExternalId");
    if !known || !(trusted || role.trusts.is_empty()) {
        return Err(refused());
    }
    if let Some(device) = &role.mfa {
        check_device(device, parameters)?.ok_or_else(refused)?;
    }
    if caller.temporary && caller.identity.is_assumed() && asked.lasting > HOUR {
        return Err(invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    let (identity, session) = open_session(world, role, &asked)?;
    Ok(result("AssumeRole", &format!("{}{session}", assumed(&identity))))
}

fn assume_role_with_web_identity(world: &World, parameters: &Parameters) -> Result<Response<Body>, Refusal> {
    let asked = Asked::read(parameters)?;
    let refused = || denied("Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned());
    let role = role_of(world, asked.role).filter(|_| !world.denies("sts:AssumeRoleWithWebIdentity"));
    let role = role.ok_or_else(refused)?;
    let wanted = role.web_identity_token.as_ref().ok_or_else(refused)?;
    if parameters.get("WebIdentityToken") != Some(wanted) {
        return Err(bad_request(
            "InvalidIdentityToken",
            "The ID Token provided is not a valid JWT".to_owned(),
        ));
    }
    let (identity, session) = open_session(world, role, &asked)?;
    let subject = elements(&[("SubjectFromWebIdentityToken", "subject"), ("Provider", "emulator")]);
    Ok(result("AssumeRoleWithWebIdentity", &format!("{}{session}{subject}", assumed(&identity))))
}

/// What both ways to a role are asked.
struct Asked<'a> {
    role: &'a str,
    session: &'a str,
    /// Seconds.
    lasting: u32,
}

impl<'a> Asked<'a> {
    fn read(parameters: &'a Parameters) -> Result<Self, Refusal> {
        let field = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
        let (role, session) = (field("RoleArn"), field("RoleSessionName"));
        if role.len() < 20 {
            return Err(constraint(role, "roleArn", "Member must have length greater than or equal to 20"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(fits) {
            let pattern = "Member must satisfy regular expression pattern: [\\w+=,.@-]*";
            return Err(constraint(session, "roleSessionName", pattern));
        }
        let lasting = match parameters.get("DurationSeconds") {
            None => HOUR,
            Some(text) => {
                text.parse().map_err(|_| constraint(text, "durationSeconds", "Must be a number"))?
            }
        };
        if lasting < SHORTEST {
            let least = "Member must have value greater than or equal to 900";
            return Err(constraint(&lasting.to_string(), "durationSeconds", least));
        }
        if lasting > LONGEST {
            let most = "Member must have value less than or equal to 43200";
            return Err(constraint(&lasting.to_string(), "durationSeconds", most));
        }
        Ok(Self { role, session, lasting })
    }
}

fn role_of<'a>(world: &'a World, arn: &str) -> Option<&'a Role> {
    world.config.roles.iter().find(|role| role.arn == arn)
}

/// `None`: the caller shows no device at all.
fn check_device((serial, code): &(String, String), parameters: &Parameters) -> Result<Option<()>, Refusal> {
    let (Some(given), Some(shown)) = (parameters.get("SerialNumber"), parameters.get("TokenCode")) else {
        return Ok(None);
    };
    if given != serial {
        return Err(denied(
            "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is \
             valid and associated with this user."
                .to_owned(),
        ));
    }
    if shown != code {
        return Err(denied(
            "MultiFactorAuthentication failed with invalid MFA one time pass code. ".to_owned(),
        ));
    }
    Ok(Some(()))
}

/// Who the caller is from now on, and the keys as XML.
fn open_session(world: &World, role: &Role, asked: &Asked<'_>) -> Result<(Identity, String), Refusal> {
    if asked.lasting > role.max_session_s {
        return Err(invalid(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    let identity =
        Identity::of_role(&role.arn, asked.session).ok_or_else(|| invalid("The role ARN is invalid"))?;
    let lasting = world.sign_in.lifetimes().assumed_role_s.unwrap_or(asked.lasting);
    let expires = clock::wall() + Duration::seconds(i64::from(lasting));
    let key: AccessKey = world.issue_key(identity.clone(), expires);
    let credentials = elements(&[
        ("AccessKeyId", &key.id),
        ("SecretAccessKey", key.secret()),
        ("SessionToken", key.session_token().unwrap_or_default()),
        ("Expiration", &clock::stamp(expires)),
    ]);
    Ok((identity, format!("<Credentials>{credentials}</Credentials>")))
}

fn assumed(identity: &Identity) -> String {
    let user = elements(&[("AssumedRoleId", &identity.user_id), ("Arn", &identity.arn)]);
    format!("<AssumedRoleUser>{user}</AssumedRoleUser>")
}

fn elements(list: &[(&str, &str)]) -> String {
    list.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escaped(value))).collect()
}

fn result(action: &str, content: &str) -> Response<Body> {
    let body = format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{content}</{action}Result>\
         <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{action}Response>",
        uuid::Uuid::new_v4()
    );
    answer(StatusCode::OK, CONTENT_TYPE, body)
}

fn form(refusal: &Refusal) -> Response<Body> {
    let Refusal { status, code, message } = refusal;
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let error = elements(&[("Type", fault), ("Code", code), ("Message", message)]);
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>{error}</Error><RequestId>{}</RequestId></ErrorResponse>",
        uuid::Uuid::new_v4()
    );
    answer(*status, CONTENT_TYPE, body)
}

fn bad_request(code: &'static str, message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message)
}

fn invalid(message: &str) -> Refusal {
    bad_request("ValidationError", message.to_owned())
}

fn constraint(value: &str, field: &str, rule: &str) -> Refusal {
    bad_request(
        "ValidationError",
        format!(
            "1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {rule}"
        ),
    )
}

fn denied(message: String) -> Refusal {
    forbidden("AccessDenied", message)
}

fn forbidden(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, code, message)
}

/// A signature that this service does not accept, in its own words.
fn rejected(rejection: &Rejection) -> Refusal {
    match rejection {
        Rejection::Missing => {
            forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
        }
        Rejection::Malformed(part) => {
            bad_request("IncompleteSignature", format!("Authorization header: {part}"))
        }
        Rejection::UnknownKey => {
            forbidden("InvalidClientTokenId", "The security token included in the request is invalid.")
        }
        Rejection::Expired => {
            forbidden("ExpiredToken", "The security token included in the request is expired")
        }
        Rejection::Skewed => forbidden("SignatureDoesNotMatch", "Signature expired"),
        Rejection::Scope { .. } => {
            forbidden("SignatureDoesNotMatch", "Credential should be scoped to correct service: 'sts'.")
        }
        Rejection::Mismatch => forbidden(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        ),
    }
}
