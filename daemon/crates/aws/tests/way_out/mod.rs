//! The way out: which hosts calls go to, as a proxy sees them, and what is said when it lets nobody through.

use std::sync::{Arc, Mutex};

use stormtunnel_aws::{AwsDiagnosis, AwsEnvironment, AwsIdentity, AwsOidc, AwsPortal, Finders};
use stormtunnel_engine::ports::Identity as _;
use stormtunnel_engine::sign_in::ports::{AccountsApi as _, Grant, OidcApi as _, SignInSite};
use stormtunnel_model::{FaultKind, SignIn, SignInStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::sign_in::{network, refresh_grant, site, token};
use super::{Fixture, scope};

/// A proxy that leads nowhere, and remembers where it was to lead.
struct Witness {
    url: String,
    hosts: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Witness {
    /// One that answers each `CONNECT` with these bytes.
    async fn answering(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hosts = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&hosts);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && client.read_buf(&mut head).await.unwrap_or(0) > 0 {}
                let head = String::from_utf8(head).unwrap();
                let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                seen.lock().unwrap().extend(host.map(str::to_owned));
                let _answered = client.write_all(answer).await;
            }
        });
        Self { url, hosts, _serving: serving }
    }

    /// Where it was to lead since it was asked last, each place once.
    fn asked(&self) -> Vec<String> {
        let mut hosts = std::mem::take(&mut *self.hosts.lock().unwrap());
        hosts.dedup();
        hosts
    }
}

const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";

async fn behind(witness: &Witness) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.change(|settings| {
        (settings.endpoint_ssm, settings.proxy) = (None, Some(witness.url.parse().unwrap()));
    });
    fixture
}

fn diagnosis(fixture: &Fixture) -> AwsDiagnosis {
    let network = network(&fixture.settings, AwsEnvironment::default());
    AwsDiagnosis::new(network, Arc::clone(&fixture.access), Finders::default())
}

#[tokio::test]
async fn a_refusal_of_the_proxy_is_told_with_its_status() {
    for (answer, sentence) in [
        (FORBIDDEN, "refuses the way to ssm.eu-west-1.amazonaws.com:443 with HTTP 403; ask whoever runs it"),
        (
            b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "does not get to ssm.eu-west-1.amazonaws.com:443 and answers with HTTP 502",
        ),
        (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "answers with HTTP 504"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "(HTTP 407)"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "is no HTTP"),
        (b"", "hung up before it answered"),
    ] {
        let witness = Witness::answering(answer).await;
        let fixture = behind(&witness).await;
        let fault = fixture.start_fault(scope(None, None)).await;
        assert_eq!(fault.kind, FaultKind::Network);
        assert!(fault.detail.starts_with("the proxy http://127.0.0.1:"), "{fault}");
        assert!(fault.detail.contains(sentence), "no \"{sentence}\" in {fault}");
        // `stctl doctor` says the same.
        let diagnosis = diagnosis(&fixture);
        let places = diagnosis.places(&scope(None, None), &[]).await.unwrap();
        let ssm = places.iter().find(|place| place.name == "ssm eu-west-1").unwrap();
        assert!(diagnosis.is_proxied(ssm));
        assert_eq!(diagnosis.visit(ssm).await, Err(fault.detail));
    }
}

#[tokio::test]
async fn fips_and_dual_stack_choose_the_hosts_that_aws_has_for_them() {
    let witness = Witness::answering(FORBIDDEN).await;
    let fixture = behind(&witness).await;
    let identity = AwsIdentity::new(Arc::clone(&fixture.access));
    for (region, fips, dual_stack, ssm, sts) in [
        ("us-east-1", false, false, "ssm.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com"),
        ("us-east-1", true, false, "ssm-fips.us-east-1.amazonaws.com", "sts-fips.us-east-1.amazonaws.com"),
        ("us-east-1", false, true, "ssm.us-east-1.api.aws", "sts.us-east-1.api.aws"),
        ("us-east-1", true, true, "ssm-fips.us-east-1.api.aws", "sts-fips.us-east-1.api.aws"),
        ("us-gov-west-1", true, false, "ssm.us-gov-west-1.amazonaws.com", "sts.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", false, false, "ssm.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn"),
        (
            "cn-north-1",
            false,
            true,
            "ssm.cn-north-1.api.amazonwebservices.com.cn",
            "sts.cn-north-1.api.amazonwebservices.com.cn",
        ),
    ] {
        fixture.change(|settings| (settings.use_fips, settings.use_dual_stack) = (fips, dual_stack));
        let scope = scope(None, Some(region));
        fixture.start_fault(scope.clone()).await;
        assert_eq!(witness.asked(), [format!("{ssm}:443")]);
        identity.check(&scope).await.unwrap_err();
        assert_eq!(witness.asked(), [format!("{sts}:443")]);
        let places = diagnosis(&fixture).places(&scope, &[]).await.unwrap();
        let urls: Vec<&str> = places.iter().map(|place| place.url.as_str()).collect();
        assert_eq!(urls[..2], [format!("https://{sts}"), format!("https://{ssm}")]);
    }
}

#[tokio::test]
async fn a_sign_in_asks_the_hosts_that_its_start_url_is_known_to() {
    let witness = Witness::answering(FORBIDDEN).await;
    let fixture = behind(&witness).await;
    // There are no such endpoints of IAM Identity Center.
    fixture.change(|settings| (settings.use_fips, settings.use_dual_stack) = (true, true));
    let network = network(&fixture.settings, AwsEnvironment::default());
    let (oidc, portal) = (AwsOidc::new(Arc::clone(&network)), AwsPortal::new(network));
    for (start_url, host) in [
        ("https://d-1234567890.awsapps.com/start", "oidc.eu-west-1.amazonaws.com"),
        ("https://ssoins-1234567890.portal.eu-west-1.app.aws", "oidc.eu-west-1.api.aws"),
    ] {
        let site = site(start_url);
        oidc.create_token(&site, Grant::Refresh(&refresh_grant())).await.unwrap_err();
        assert_eq!(witness.asked(), [format!("{host}:443")]);
        portal.accounts(&site, &token()).await.unwrap_err();
        assert_eq!(witness.asked(), ["portal.sso.eu-west-1.amazonaws.com:443"]);
        let SignInSite { name, start_url, region, .. } = site;
        let sign_in =
            SignIn { name, start_url, region, profiles: Vec::new(), status: SignInStatus::unknown() };
        let places = diagnosis(&fixture).places_of_sign_in(&sign_in).await.unwrap();
        let urls: Vec<&str> = places.iter().map(|place| place.url.as_str()).collect();
        assert_eq!(urls, [&format!("https://{host}"), "https://portal.sso.eu-west-1.amazonaws.com"]);
    }
}

#[tokio::test]
async fn a_bundle_that_is_broken_is_named_and_breaks_nothing() {
    let fixture = Fixture::new().await;
    let path = fixture.directory.path().join("corp.pem");
    let named = path.display().to_string();
    fixture.change(|settings| settings.ca_bundle = Some(named.clone()));
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let end = "-----END CERTIFICATE-----\n";
    for (content, why) in [
        (format!("{begin}this is no base64!\n{end}"), "number 1 is not valid PEM"),
        (format!("{begin}AAAA\n{end}"), "number 1 cannot be used"),
        (format!("{begin}AAAA\n"), "number 1 is not valid PEM"),
        (begin.to_owned(), "number 1 is not valid PEM"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(),
            "no certificate in PEM format",
        ),
        ("\u{0}\u{1}".to_owned(), "no certificate in PEM format"),
        (String::new(), "no certificate in PEM format"),
    ] {
        std::fs::write(&path, &content).unwrap();
        let fault = fixture.start_fault(scope(None, None)).await;
        let field = "network.ca_bundle".to_owned();
        assert_eq!(fault.kind, FaultKind::InvalidArgument { field }, "{content}: {fault}");
        assert!(fault.detail.starts_with(&named) && fault.detail.contains(why), "{content}: {fault}");
        assert_eq!(diagnosis(&fixture).authorities().await, [fault]);
    }
}

#[tokio::test]
async fn a_bundle_of_a_profile_is_looked_at_too() {
    let fixture = Fixture::new().await;
    super::write_config(
        fixture.directory.path(),
        "[profile prod]\nregion = eu-west-1\nca_bundle = /none/ca.pem\n",
    );
    let faults = diagnosis(&fixture).authorities().await;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].kind, FaultKind::InvalidArgument { field: "ca_bundle".to_owned() });
    assert!(faults[0].detail.starts_with("profile prod: /none/ca.pem: "), "{}", faults[0]);
}
