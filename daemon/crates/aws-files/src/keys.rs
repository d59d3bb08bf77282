//! The keys of profiles and sections that mean something to us.

use crate::problem::ProblemKind;

/// In lower case, sorted.
const KNOWN: [&str; 28] = [
    "aws_access_key_id",
    "aws_account_id",
    "aws_secret_access_key",
    "aws_security_token",
    "aws_session_token",
    "ca_bundle",
    "credential_process",
    "credential_source",
    "duration_seconds",
    "endpoint_url",
    "external_id",
    "ignore_configured_endpoint_urls",
    "login_session",
    "mfa_serial",
    "region",
    "role_arn",
    "role_session_name",
    "services",
    "source_profile",
    "sso_account_id",
    "sso_region",
    "sso_registration_scopes",
    "sso_role_name",
    "sso_session",
    "sso_start_url",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
    "web_identity_token_file",
];

/// Keys whose value may well hold white space and a `#`.
const FREE_TEXT: [&str; 5] =
    ["aws_secret_access_key", "aws_security_token", "aws_session_token", "credential_process", "external_id"];

/// The key, if it is one of ours. A message names no other: a secret that was pasted in the wrong place looks like a key.
pub(crate) fn known(key: &str) -> Option<&'static str> {
    KNOWN.iter().find(|known| **known == key).copied()
}

/// What is remarkable about `value`: the CLI takes a comment behind a value for a part of it.
pub(crate) fn comment_in_value(key: &str, value: &str) -> Option<ProblemKind> {
    let key = known(key).filter(|key| !FREE_TEXT.contains(key))?;
    let marks = [" #", "\t#", " ;", "\t;"];
    marks.iter().any(|mark| value.contains(mark)).then_some(ProblemKind::CommentInValue { key })
}
