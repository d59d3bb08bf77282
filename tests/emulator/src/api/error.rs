//! Errors of the API, worded as the service words them: clients match on some of these texts.

use http::StatusCode;
use serde_json::{Value, json};

use crate::sigv4::Rejection;

/// A call that failed.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl ApiError {
    fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::bad_request("ValidationException", message)
    }

    pub(crate) fn no_such_document(name: &str) -> Self {
        Self::bad_request("InvalidDocument", format!("Document with name {name} does not exist."))
    }

    pub(crate) fn parameters(message: impl Into<String>) -> Self {
        Self::bad_request("InvalidParameters", message)
    }

    pub(crate) fn target_not_connected(target: &str) -> Self {
        Self::bad_request("TargetNotConnected", format!("{target} is not connected."))
    }

    pub(crate) fn no_such_session(id: &str) -> Self {
        Self::bad_request("DoesNotExistException", format!("Session {id} does not exist."))
    }

    /// A denial; [`ApiError::said_to`] completes it.
    pub(crate) fn denied(action: &str, resource: &str) -> Self {
        let message = format!(
            "is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the \
             {action} action"
        );
        Self::bad_request("AccessDeniedException", message)
    }

    /// The same error with the caller's ARN, where the service names it: in denials.
    pub(crate) fn said_to(mut self, principal: &str) -> Self {
        if self.code == "AccessDeniedException" {
            self.message = format!("User: {principal} {}", self.message);
        }
        self
    }

    pub(crate) fn invalid_filter(name: &str) -> Self {
        Self::bad_request("InvalidParameterValue", format!("The filter '{name}' is invalid"))
    }

    pub(crate) fn no_such_cluster() -> Self {
        Self::bad_request("ClusterNotFoundException", "Cluster not found.")
    }

    pub(crate) fn no_such_service() -> Self {
        Self::bad_request("ServiceNotFoundException", "Service not found.")
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::bad_request("InvalidParameterException", message)
    }

    pub(crate) fn throttled() -> Self {
        Self::bad_request("ThrottlingException", "Rate exceeded")
    }

    pub(crate) fn unknown_operation(target: &str) -> Self {
        Self::bad_request("UnknownOperationException", format!("the emulator has no operation {target:?}"))
    }

    pub(crate) fn rejected(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Missing => {
                Self::bad_request("MissingAuthenticationTokenException", "Missing Authentication Token")
            }
            Rejection::Malformed(part) => {
                Self::bad_request("IncompleteSignatureException", format!("Authorization header: {part}"))
            }
            Rejection::UnknownKey => Self::bad_request(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            Rejection::Expired => Self::bad_request(
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            Rejection::Skewed => Self::bad_request("InvalidSignatureException", "Signature expired"),
            Rejection::Scope { region, service } => Self::bad_request(
                "InvalidSignatureException",
                format!(
                    "Credential should be scoped to another service or region than {service} in {region}."
                ),
            ),
            Rejection::Mismatch => Self::bad_request(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ),
        }
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "__type": self.code, "message": self.message })
    }
}
