use super::*;

fn service(code: &str, status: u16) -> SsoError {
    SsoError::Service(ServiceError { status, code: code.to_owned(), ..ServiceError::default() })
}

fn with_reason(code: &str, reason: &str) -> SsoError {
    let (code, reason) = (code.to_owned(), reason.to_owned());
    SsoError::Service(ServiceError { status: 400, code, reason, message: String::new() })
}

fn local(kind: FaultKind) -> SsoError {
    SsoError::Local(Fault::new(kind, "dns error"))
}

fn refresh(error: SsoError) -> &'static str {
    match refresh_failure(error) {
        RefreshFailure::GrantGone => "grant gone",
        RefreshFailure::ClientGone => "client gone",
        RefreshFailure::Refused(_) => "refused",
        RefreshFailure::Throttled(_) => "throttled",
        RefreshFailure::Unreachable(_) => "unreachable",
    }
}

fn login(error: SsoError) -> &'static str {
    named(&login_failure(error))
}

fn named(failure: &LoginFailure) -> &'static str {
    match failure {
        LoginFailure::Cancelled => "cancelled",
        LoginFailure::TimedOut => "timed out",
        LoginFailure::Declined => "declined",
        LoginFailure::ClientGone => "client gone",
        LoginFailure::Mismatch => "mismatch",
        LoginFailure::Refused(_) => "refused",
        LoginFailure::Unreachable(_) => "unreachable",
        LoginFailure::NobodyThere => "nobody there",
        LoginFailure::DoesNotLast { .. } => "does not last",
    }
}

fn polled(error: SsoError) -> &'static str {
    match poll(error) {
        Poll::Pending => "pending",
        Poll::SlowDown => "slow down",
        Poll::Again(_) => "again",
        Poll::Over(failure) => named(&failure),
    }
}

fn portal(error: SsoError) -> &'static str {
    match portal_failure(error) {
        PortalFailure::TokenRejected => "token rejected",
        PortalFailure::NoAssignment(_) => "no assignment",
        PortalFailure::Invalid(_) => "invalid",
        PortalFailure::Throttled(_) => "throttled",
        PortalFailure::Unreachable(_) => "unreachable",
    }
}

#[test]
fn every_answer_of_sso_oidc() {
    // Exception, status; at a renewal, at a step of a login, at a poll.
    let rows = [
        ("AuthorizationPendingException", 400, "unreachable", "unreachable", "pending"),
        ("SlowDownException", 400, "throttled", "unreachable", "slow down"),
        ("ExpiredTokenException", 400, "grant gone", "timed out", "timed out"),
        ("AccessDeniedException", 400, "refused", "declined", "declined"),
        ("InvalidGrantException", 400, "grant gone", "refused", "refused"),
        ("InvalidClientException", 401, "client gone", "client gone", "client gone"),
        ("UnauthorizedClientException", 400, "client gone", "client gone", "client gone"),
        ("InvalidRequestException", 400, "refused", "refused", "refused"),
        ("InvalidScopeException", 400, "refused", "refused", "refused"),
        ("UnsupportedGrantTypeException", 400, "refused", "refused", "refused"),
        ("InvalidClientMetadataException", 400, "refused", "refused", "refused"),
        ("InvalidRedirectUriException", 400, "refused", "refused", "refused"),
        ("InternalServerException", 500, "unreachable", "unreachable", "again"),
        // What is not in the table.
        ("ThrottlingException", 429, "throttled", "unreachable", "slow down"),
        ("BrandNewException", 400, "refused", "refused", "refused"),
        ("BrandNewException", 503, "unreachable", "unreachable", "again"),
        ("RequestTimeoutException", 408, "unreachable", "unreachable", "again"),
        ("", 403, "unreachable", "unreachable", "again"),
        ("", 502, "unreachable", "unreachable", "again"),
    ];
    for (code, status, at_refresh, at_login, at_poll) in rows {
        let error = || service(code, status);
        let found = (refresh(error()), login(error()), polled(error()));
        assert_eq!(found, (at_refresh, at_login, at_poll), "{code} {status}");
    }
}

#[test]
fn the_code_in_the_body_says_the_same_as_the_exception() {
    for (exception, code, expected) in OIDC {
        for name in [exception, code] {
            let error = ServiceError { code: name.to_owned(), status: 400, ..ServiceError::default() };
            assert_eq!(answer(&error), expected, "{name}");
        }
    }
}

#[test]
fn every_answer_of_the_portal() {
    let rows = [
        ("UnauthorizedException", 401, "token rejected"),
        ("", 401, "token rejected"),
        ("ForbiddenException", 403, "no assignment"),
        ("ResourceNotFoundException", 404, "no assignment"),
        ("InvalidRequestException", 400, "invalid"),
        ("TooManyRequestsException", 429, "throttled"),
        ("InternalServerException", 500, "unreachable"),
        ("", 400, "unreachable"),
        ("", 502, "unreachable"),
    ];
    for (code, status, expected) in rows {
        assert_eq!(portal(service(code, status)), expected, "{code} {status}");
    }
}

#[test]
fn the_network_is_never_a_reason_to_sign_in() {
    let network = || local(FaultKind::Network);
    let found = (refresh(network()), login(network()), polled(network()), portal(network()));
    assert_eq!(found, ("unreachable", "unreachable", "again", "unreachable"));
    let wrong = || local(FaultKind::InvalidArgument { field: "endpoint_url".to_owned() });
    let found = (refresh(wrong()), login(wrong()), polled(wrong()), portal(wrong()));
    assert_eq!(found, ("refused", "refused", "refused", "invalid"));
}

#[test]
fn trouble_with_a_key_is_the_administrators() {
    for code in ["AccessDeniedException", "InvalidRequestException"] {
        let reason = "KMS_DisabledException";
        let LoginFailure::Refused(fault) = login_failure(with_reason(code, reason)) else {
            panic!("{code} is refused");
        };
        assert_eq!(fault.recovery(), Recovery::FixByUser);
        assert!(fault.detail.contains(reason) && fault.detail.contains("administrator"), "{}", fault.detail);
    }
}

#[test]
fn a_refusal_names_the_field_to_correct() {
    let rows = [
        ("InvalidRequestException", "sso_region", "start URL"),
        ("InvalidGrantException", "sso_region", "start URL"),
        ("invalid_scope", "sso_registration_scopes", "scopes"),
        ("UnsupportedGrantTypeException", "flow", "way to sign in"),
        ("invalid_client_metadata", "flow", "way to sign in"),
        ("InvalidRedirectUriException", "flow", "way to sign in"),
    ];
    for (code, expected, word) in rows {
        let LoginFailure::Refused(fault) = login_failure(service(code, 400)) else {
            panic!("{code} is refused");
        };
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field: expected.to_owned() }, "{code}");
        assert!(fault.detail.contains(word), "{code}: {fault}");
    }
}

#[test]
fn the_three_recoveries_are_told_apart() {
    let recovery = |code, status| refresh_failure(service(code, status)).recovery();
    assert_eq!(recovery("InvalidGrantException", 400), Recovery::SignIn);
    assert_eq!(recovery("InvalidClientException", 401), Recovery::SignIn);
    assert_eq!(recovery("InvalidRequestException", 400), Recovery::FixByUser);
    assert_eq!(recovery("SlowDownException", 400), Recovery::Retry);
    assert_eq!(recovery("InternalServerException", 500), Recovery::Retry);
}

#[test]
fn a_login_that_failed_says_why() {
    let corp: SignInName = "corp".parse().unwrap();
    let until = Timestamp::from_millis(0);
    let failures = [
        LoginFailure::Cancelled,
        LoginFailure::TimedOut,
        LoginFailure::Declined,
        LoginFailure::ClientGone,
        LoginFailure::Mismatch,
        LoginFailure::NobodyThere,
        LoginFailure::DoesNotLast { until },
    ];
    for failure in failures {
        let fault = failure.fault(&corp);
        assert_eq!(fault.recovery(), Recovery::SignIn, "{fault}");
        assert!(!fault.detail.is_empty(), "{failure:?}");
    }
    let lasting = LoginFailure::DoesNotLast { until }.fault(&corp).detail;
    assert!(
        ["start URL", "clock", "identity provider"].iter().all(|cause| lasting.contains(cause)),
        "{lasting}"
    );
    let network = Fault::new(FaultKind::Network, "dns error");
    assert_eq!(LoginFailure::Unreachable(network.clone()).fault(&corp), network);
}
