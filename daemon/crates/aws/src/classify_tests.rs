use std::io;

use super::*;

fn subject() -> Subject {
    Subject { profile: "prod".to_owned(), region: "eu-west-1".parse().unwrap() }
}

fn service(code: &str, message: &str) -> Fault {
    let node: ResolvedTarget = "i-0abcdef1234567890".parse().unwrap();
    let document = Some("AWS-StartPortForwardingSession");
    let call = Call { action: "ssm:StartSession", node: Some(&node), document };
    service_fault(code, 400, message, &subject(), &call)
}

fn credentials(error: &str) -> FaultKind {
    credentials_fault(&CredentialsError::provider_error(error), &subject(), &[]).kind
}

fn denial(principal: &str, action: &str, resource: &str) -> FaultKind {
    let [principal, action, resource] = [principal, action, resource].map(str::to_owned);
    FaultKind::PermissionDenied { principal, action, resource }
}

#[test]
fn a_denial_tells_who_what_and_where() {
    for (message, kind) in [
        (
            "User: arn:aws:sts::123456789012:assumed-role/Dev/me@corp.example is not authorized to perform: \
             ssm:StartSession on resource: arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc because no \
             identity-based policy allows the ssm:StartSession action",
            denial(
                "arn:aws:sts::123456789012:assumed-role/Dev/me@corp.example",
                "ssm:StartSession",
                "arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc",
            ),
        ),
        (
            "User: arn:aws:iam::1:user/me is not authorized to perform: ssm:ResumeSession.",
            denial("arn:aws:iam::1:user/me", "ssm:ResumeSession", ""),
        ),
        ("no, thanks", denial("", "ssm:StartSession", "")),
        ("", denial("", "ssm:StartSession", "")),
    ] {
        let fault = service("AccessDeniedException", message);
        assert_eq!(fault.kind, kind);
        assert!(!fault.detail.is_empty());
    }
}

#[test]
fn codes_become_kinds() {
    let invalid = FaultKind::CredentialsInvalid { profile: "prod".to_owned() };
    for (code, kind, flaw) in [
        ("ExpiredTokenException", invalid.clone(), "they have expired: "),
        (
            "UnrecognizedClientException",
            invalid.clone(),
            "AWS does not know the access key: it is inactive, was deleted, or belongs to another partition: ",
        ),
        (
            "InvalidSignatureException",
            invalid,
            "they are wrong: the secret key is not that of the access key: ",
        ),
        ("ThrottlingException", FaultKind::Throttled, ""),
        ("InternalServerError", FaultKind::Network, ""),
        ("NeverHeardOf", FaultKind::Network, ""),
    ] {
        let fault = service(code, "The reason.");
        assert_eq!(fault.kind, kind, "{code}");
        assert_eq!(fault.detail, format!("{flaw}AWS answered {code} (HTTP 400): The reason."));
    }
    let fault = service("TargetNotConnected", "i-0abcdef1234567890 is not connected.");
    let target = "i-0abcdef1234567890".to_owned();
    assert_eq!(fault.kind, FaultKind::TargetNotConnected { target, region: "eu-west-1".to_owned() });
    let fault = service("InvalidDocument", "Document does not exist.");
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "document".to_owned() });
    assert!(fault.detail.contains("AWS-StartPortForwardingSession in eu-west-1"), "{fault}");
}

#[test]
fn a_validation_error_names_the_field() {
    let message = "1 validation error detected: Value 'x' at 'target' failed to satisfy constraint";
    assert_eq!(
        service("ValidationException", message).kind,
        FaultKind::InvalidArgument { field: "target".to_owned() }
    );
    let kind = service("ValidationException", "no field here").kind;
    assert_eq!(kind, FaultKind::InvalidArgument { field: "session".to_owned() });
}

#[test]
fn a_wrong_clock_is_named() {
    let fault =
        service("InvalidSignatureException", "Signature expired: 20200101T000000Z is now earlier than …");
    assert!(fault.detail.ends_with("(is this computer's clock right?)"), "{fault}");
    assert!(fault.detail.starts_with("AWS answered"), "the keys may be right: {fault}");
}

#[test]
fn what_the_machine_does_not_give_is_told_by_its_kind() {
    assert_eq!(credentials("dispatch failure: io error: dns error"), FaultKind::Network);
    assert_eq!(credentials("TooManyRequestsException"), FaultKind::Throttled);
    let invalid = FaultKind::CredentialsInvalid { profile: "prod".to_owned() };
    assert_eq!(credentials("the profile has no credentials"), invalid);
}

#[test]
fn credentials_that_could_not_be_had_say_what_is_wrong_with_them() {
    let told = |error: CredentialsError| credentials_fault(&error, &subject(), &[]).detail;
    let expired =
        told(CredentialsError::provider_error("service error: ExpiredToken: the token has expired"));
    assert!(expired.starts_with("they have expired: "), "{expired}");
    assert!(told(CredentialsError::not_loaded_no_source()).starts_with("there are none: "));
    assert!(!told(CredentialsError::provider_error("exit status 1")).starts_with("there are none: "));
}

#[test]
fn a_stall_is_the_networks() {
    let stalled = || CredentialsError::provider_timed_out(std::time::Duration::from_secs(20));
    let kind = |error: &CredentialsError| credentials_fault(error, &subject(), &[]).kind;
    assert_eq!(kind(&stalled()), FaultKind::Network);
    // As a chain wraps the errors of what it is made of.
    assert_eq!(kind(&CredentialsError::provider_error(stalled())), FaultKind::Network);
    assert_eq!(credentials("response error: unexpected end of file"), FaultKind::Network);
    assert_eq!(credentials("request has timed out"), FaultKind::Network);
}

#[test]
fn a_refused_upgrade_is_told_by_status_and_text() {
    let refused = |status, error_type, body| upgrade_fault(status, error_type, body, &subject(), &[]).kind;
    let invalid = FaultKind::CredentialsInvalid { profile: "prod".to_owned() };
    assert_eq!(refused(401, None, ""), invalid);
    assert_eq!(refused(403, Some("ExpiredTokenException:http://x"), ""), invalid);
    assert_eq!(
        refused(403, None, "{\"message\":\"The security token included in the request is invalid\"}"),
        invalid
    );
    assert_eq!(refused(403, None, "Forbidden"), denial("", "ssmmessages:OpenDataChannel", ""));
    let body = "{\"Message\":\"User: arn:aws:iam::1:user/me is not authorized to perform: \
                ssmmessages:OpenDataChannel on resource: arn:aws:ssm:eu-west-1:1:session/me-0a\"}";
    let kind = denial(
        "arn:aws:iam::1:user/me",
        "ssmmessages:OpenDataChannel",
        "arn:aws:ssm:eu-west-1:1:session/me-0a",
    );
    assert_eq!(refused(403, None, body), kind);
    assert_eq!(refused(429, None, ""), FaultKind::Throttled);
    for status in [200, 400, 404, 410, 500, 502, 503] {
        assert_eq!(refused(status, None, "<html>"), FaultKind::Network, "{status}");
    }
}

#[test]
fn missing_credentials_without_a_profile_say_how_to_name_one() {
    let nobody = Subject { profile: String::new(), ..subject() };
    let fault = credentials_fault(&CredentialsError::not_loaded_no_source(), &nobody, &[]);
    assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: String::new() });
    assert!(fault.detail.contains("aws.default_profile"), "{fault}");
    assert!(fault.detail.starts_with("there are none: "), "{fault}");
}

#[test]
fn credentials_that_the_machine_lacks_are_told_with_what_to_do() {
    let chain = "no credentials found in chain. Attempted: EcsContainer: the credential provider was not enabled: ECS provider \
                 not configured";
    for (said, hint) in [
        (chain, "neither a container nor an instance with a role"),
        ("environment variable not set", "STORMTUNNEL_AWS_ENVIRONMENT=1"),
        ("ECS provider not configured", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ("received 404 from IMDS", "attach an instance profile"),
    ] {
        let fault = credentials_fault(&CredentialsError::not_loaded(said), &subject(), &[]);
        assert!(fault.detail.contains(said) && fault.detail.contains(hint), "{fault}");
        assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: "prod".to_owned() });
    }
}

#[test]
fn causes_are_told_once_each() {
    let inner = io::Error::other("connection refused");
    let outer = CredentialsError::provider_error(inner);
    assert_eq!(chain(&outer), "an error occurred while loading credentials: connection refused");
    assert!(find::<io::Error>(&outer).is_some());
}

#[test]
fn nothing_secret_survives_in_any_fault() {
    let secrets = ["CANARY"];
    let text = "token CANARY, The Canonical String is x-amz-security-token:CANARY";
    let upgrade = upgrade_fault(403, Some("CANARY"), text, &subject(), &secrets);
    let of_credentials = credentials_fault(&CredentialsError::unhandled(text), &subject(), &secrets);
    for fault in [upgrade, of_credentials] {
        assert!(!format!("{fault} {fault:?}").contains("CANARY"), "{fault:?}");
    }
}

#[test]
fn a_fault_of_a_provider_of_ours_stays_as_it_is() {
    let fault = Fault::new(FaultKind::Throttled, "ForbiddenException, more slowly");
    let error = CredentialsError::provider_error(fault.clone());
    assert_eq!(credentials_fault(&error, &subject(), &[]), fault);
}

#[test]
fn who_signed_in_is_told_what_to_name_to_the_administrator() {
    let text = |principal: &str| {
        format!(
            "User: {principal} is not authorized to perform: ssm:StartSession on resource: arn:aws:ec2:::instance/i-0"
        )
    };
    let detail = |principal: &str| denied(&text(principal), "ssm:StartSession", "no").detail;
    let sso =
        "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Dev_Ops_aa007fc9b7a8bef2/me@corp.example";
    assert_eq!(
        detail(sso),
        "no: the administrator allows it in permission set Dev_Ops for account 123456789012"
    );
    assert_eq!(detail("arn:aws:sts::123456789012:assumed-role/Dev/me"), "no");
    assert_eq!(detail("arn:aws:iam::123456789012:user/me"), "no");
}
