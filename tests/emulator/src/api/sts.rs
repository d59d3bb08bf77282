//! The STS API, as much as tells callers who they are. It needs no permission, and cannot be denied.

use http::StatusCode;
use uuid::Uuid;

use super::error::ApiError;
use super::xml::{escaped, parameters};
use crate::counters::Counter;
use crate::world::World;

/// The version that every call of this API names.
const VERSION: &str = "2011-06-15";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Whether a call in the Query protocol is for this service.
pub(super) fn is_meant(body: &[u8]) -> bool {
    parameters(body).get("Version").is_some_and(|version| version == VERSION)
}

pub(super) fn dispatch(world: &World, body: &[u8]) -> Result<String, ApiError> {
    match parameters(body).get("Action").map(String::as_str) {
        Some("GetCallerIdentity") => {
            world.counters.increment(Counter::ApiGetCallerIdentity);
            Ok(caller_identity(&world.config.principal, &world.config.account))
        }
        other => Err(ApiError::unknown_operation(other.unwrap_or_default())),
    }
}

fn caller_identity(principal: &str, account: &str) -> String {
    let name = principal.rsplit('/').next().unwrap_or_default();
    format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{arn}</Arn>\
         <UserId>AROAEMULATOREXAMPLE0:{name}</UserId><Account>{account}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>",
        arn = escaped(principal),
        name = escaped(name),
        account = escaped(account),
        id = Uuid::new_v4(),
    )
}

/// An error as this service has it, with its status: it names some of them otherwise than Session Manager.
pub(super) fn error(error: &ApiError) -> (StatusCode, String) {
    let (status, code) = match error.code {
        "UnrecognizedClientException" => (StatusCode::FORBIDDEN, "InvalidClientTokenId"),
        "ExpiredTokenException" => (StatusCode::FORBIDDEN, "ExpiredToken"),
        "InvalidSignatureException" => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
        "MissingAuthenticationTokenException" => (StatusCode::FORBIDDEN, "MissingAuthenticationToken"),
        "IncompleteSignatureException" => (StatusCode::FORBIDDEN, "IncompleteSignature"),
        code => (error.status, code),
    };
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
        escaped(&error.message),
        Uuid::new_v4()
    );
    (status, body)
}
