//! What SSO-OIDC and the access portal answer in the place of a result, as the engine takes it.
//!
//! The SDK knows an exception by a header only, and loses it when the body is no JSON; so headers and body are read here.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use serde_json::Value;
use stormtunnel_engine::sign_in::classify::{ServiceError, SsoError};
use stormtunnel_engine::sign_in::ports::SignInSite;

use crate::classify::{Call, Subject, local_fault};
use crate::quote::quote;

/// Longest code that is taken for one.
const MAX_CODE: usize = 64;

/// The fields of a body that may hold what a person reads: of SSO-OIDC, of the portal.
const MESSAGES: [&str; 3] = ["error_description", "message", "Message"];
/// The fields that may name the exception where no header does; the last one has the code of OAuth.
const CODES: [&str; 3] = ["__type", "code", "error"];

/// The error behind a failed call of that action (as IAM calls it). `secrets` are cut out of what was said.
pub(super) fn sso_error<E>(
    error: &SdkError<E, HttpResponse>,
    site: &SignInSite,
    action: &'static str,
    secrets: &[&str],
) -> SsoError
where
    E: Error + 'static,
{
    let answer = error.as_service_error().and_then(|_| error.raw_response());
    let error = match answer {
        Some(answer) => SsoError::Service(service_error(answer, secrets)),
        None => {
            let subject = Subject { profile: String::new(), region: site.region.clone() };
            let call = Call { action, node: None, document: None };
            SsoError::Local(local_fault(error, &subject, &call, secrets))
        }
    };
    tracing::debug!(sign_in = %site.name, action, ?error, "AWS call failed");
    error
}

/// An answer that succeeded and lacks what it is for is not one of AWS.
pub(super) fn strange_answer() -> SsoError {
    SsoError::Service(ServiceError { status: 200, ..ServiceError::default() })
}

fn service_error(answer: &HttpResponse, secrets: &[&str]) -> ServiceError {
    let body: Value =
        answer.body().bytes().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let first =
        |fields: &[&str]| fields.iter().find_map(|field| body.get(field)?.as_str()).unwrap_or_default();
    let exception = answer.headers().get("x-amzn-errortype");
    ServiceError {
        status: answer.status().as_u16(),
        code: code(exception.unwrap_or_else(|| first(&CODES)), secrets),
        reason: code(first(&["reason"]), secrets),
        message: quote(first(&MESSAGES), secrets),
    }
}

/// The exception in `namespace#Exception:origin`, or the code itself; nothing if it looks like neither.
fn code(text: &str, secrets: &[&str]) -> String {
    let text = text.split(':').next().unwrap_or_default();
    let text = quote(text.rsplit('#').next().unwrap_or_default(), secrets);
    let is_code = text.len() <= MAX_CODE && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_code { text } else { String::new() }
}
