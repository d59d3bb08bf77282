//! Credentials of each kind of profile, told apart by whom STS takes us for.

mod logout;
mod process;

use std::sync::{Arc, Mutex};

use aws_config::BehaviorVersion;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_emulator::{Config, Emulator, Issued, Role};
use secrecy::SecretString;
use stormtunnel_aws::{AskCode, AwsEnvironment, AwsNetwork, AwsPortal, ProfileCredentials, Providers};
use stormtunnel_aws_files::{ProfileFile, ProfileSet};
use stormtunnel_engine::ports::PortFuture;
use stormtunnel_engine::prompts::CodeQuestion;
use stormtunnel_engine::sign_in::actor::SignInHandle;
use stormtunnel_engine::sign_in::credentials::CredentialBroker;
use stormtunnel_engine::sign_in::policy::SignInPolicy;
use stormtunnel_engine::sign_in::ports::SignInPorts;
use stormtunnel_engine::sign_in::token::{OidcClient, RefreshGrant, SsoToken, StoredToken};
use stormtunnel_engine::tasks::Tasks;
use stormtunnel_engine::testing::{
    MemoryCache, MemoryKeys, MemoryObserver, MemoryOidc, ScriptedBrowser, TestClock, TestEntropy,
};
use stormtunnel_model::{Fault, FaultKind, SignInName, Timestamp};
use tokio::sync::watch;

use super::sign_in::{START_URL, network, pointing_at, site};

const SERIAL: &str = "arn:aws:iam::123456789012:mfa/me";
const OUTER: &str = "arn:aws:iam::222222222222:role/path/Outer";
const INNER: &str = "arn:aws:iam::333333333333:role/Inner";
const GUARDED: &str = "arn:aws:iam::444444444444:role/Guarded";

/// A person who types what the test says, and how often one was asked.
struct Person {
    code: Result<&'static str, Fault>,
    /// So many times one mistypes it first.
    slips: Mutex<usize>,
    asked: Mutex<Vec<(String, String, bool)>>,
}

impl AskCode for Person {
    fn code<'a>(&'a self, question: CodeQuestion<'a>) -> PortFuture<'a, Result<SecretString, Fault>> {
        let CodeQuestion { profile, serial, refused, .. } = question;
        self.asked.lock().unwrap().push((profile.to_string(), serial.to_owned(), refused));
        let mut slips = self.slips.lock().unwrap();
        let code = if *slips > 0 { Ok("654321") } else { self.code.clone() };
        *slips = slips.saturating_sub(1);
        Box::pin(std::future::ready(code.map(SecretString::from)))
    }
}

struct World {
    emulator: Emulator,
    tasks: Tasks,
    person: Arc<Person>,
    network: Arc<AwsNetwork>,
    broker: Arc<CredentialBroker>,
    sign_in: SignInHandle,
    providers: Providers,
}

impl World {
    async fn new(code: Result<&'static str, Fault>) -> Self {
        let outer = Role { external_id: Some("xyz".to_owned()), ..Role::new(OUTER) };
        let inner = Role {
            trusts: vec!["arn:aws:sts::222222222222:assumed-role/Outer/".to_owned()],
            ..Role::new(INNER)
        };
        let guarded = Role { mfa: Some((SERIAL.to_owned(), "123456".to_owned())), ..Role::new(GUARDED) };
        let roles = vec![outer, inner, guarded];
        let emulator = Emulator::start(Config { roles, ..Config::default() }).await.unwrap();
        let settings = watch::Sender::new(Arc::new(pointing_at(emulator.api_url())));
        let network = network(&settings, AwsEnvironment::default());
        let portal = Arc::new(AwsPortal::new(Arc::clone(&network)));
        let broker = Arc::new(CredentialBroker::new(portal, Arc::new(TestClock::new())));
        let tasks = Tasks::new();
        let sign_in = signed_in(&emulator.log_in(START_URL).unwrap(), &tasks);
        let known = sign_in.clone();
        let find = move |name: &SignInName| {
            let unknown =
                || Fault::new(FaultKind::SignInNeeded { sign_in: name.to_string() }, "it is unknown");
            (known.name() == name).then(|| known.clone()).ok_or_else(unknown)
        };
        let person = Arc::new(Person { code, slips: Mutex::default(), asked: Mutex::default() });
        let (codes, finder) = (Arc::clone(&person) as _, Arc::new(find));
        let providers = Providers::new(Arc::clone(&network), Arc::clone(&broker), finder, codes);
        Self { emulator, tasks, person, network, broker, sign_in, providers }
    }

    /// Whom STS takes the profile `p` of that file for.
    async fn who(&self, config: &str) -> Result<String, Fault> {
        let credentials = self.provider(config).await?;
        let keys = credentials.provide_credentials().await.map_err(|error| fault_in(&error))?;
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_config::Region::new("eu-central-1"))
            .endpoint_url(self.emulator.api_url())
            .credentials_provider(keys)
            .build();
        let answer = aws_sdk_sts::Client::from_conf(config).get_caller_identity().send().await.unwrap();
        Ok(answer.arn.unwrap())
    }

    async fn provider(&self, config: &str) -> Result<ProfileCredentials, Fault> {
        let file = |text: &str| ProfileFile::new("config", text.as_bytes().to_vec());
        let set = ProfileSet::parse(&file(config), &file(""), None);
        let profile = set.profile(&"p".parse().unwrap()).expect("a profile p");
        let credentials = profile.credentials.as_ref().unwrap_or_else(|why| panic!("{why}"));
        let region = "eu-central-1".parse().unwrap();
        self.providers.provider_for(credentials, &profile.endpoints, &region).await
    }

    async fn refused(&self, config: &str) -> Fault {
        self.who(config).await.expect_err("there should be no credentials")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

/// The sign-in with the token of that login.
fn signed_in(issued: &Issued, tasks: &Tasks) -> SignInHandle {
    let site = site(START_URL);
    let until = |seconds: i64| Timestamp::from_millis(u64::try_from(seconds).unwrap() * 1000);
    let client = Arc::new(OidcClient {
        id: issued.client_id.clone(),
        secret: issued.client_secret.as_str().into(),
        expires_at: until(issued.registration_expires.unix_timestamp()),
    });
    let refresh = issued.refresh_token.as_deref().map(|token| RefreshGrant { token: token.into(), client });
    let token = SsoToken {
        access: issued.access_token.as_str().into(),
        expires_at: until(issued.expires.unix_timestamp()),
        refresh,
    };
    let keys = MemoryKeys::default();
    keys.put(&site.name, StoredToken::new(Arc::new(token), Arc::new(site.clone()), false));
    let ports = SignInPorts {
        oidc: Arc::new(MemoryOidc::default()),
        cache: Arc::new(MemoryCache::default()),
        keys: Arc::new(keys),
        browser: Arc::new(ScriptedBrowser::default()),
        observer: Arc::new(MemoryObserver::default()),
        clock: Arc::new(TestClock::new()),
        entropy: Arc::new(TestEntropy::default()),
    };
    let policy = watch::Sender::new(SignInPolicy::default());
    SignInHandle::start(site, ports, policy.subscribe(), tasks).unwrap()
}

/// What a provider of ours says.
fn fault_in(error: &(dyn std::error::Error + 'static)) -> Fault {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return fault.clone();
        }
        cause = error.source();
    }
    panic!("no fault in {error}");
}

/// The profile `sso`, which takes a role through the sign-in.
fn sso(role: &str) -> String {
    format!(
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = {START_URL}\n[profile sso]\n\
         sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = {role}\n"
    )
}

#[tokio::test]
async fn keys_of_a_file_are_taken_as_they_are() {
    let world = World::new(Ok("")).await;
    let key = world.emulator.access_key();
    let config =
        format!("[profile p]\naws_access_key_id = {}\naws_secret_access_key = {}\n", key.id, key.secret());
    let who = world.who(&config).await.unwrap();
    assert_eq!(who, "arn:aws:sts::123456789012:assumed-role/Developer/me@corp.example");
    assert!(
        world
            .provider(&config)
            .await
            .is_ok_and(|credentials| !format!("{credentials:?}").contains(key.secret()))
    );
}

#[tokio::test]
async fn a_role_comes_through_the_sign_in_that_the_profile_names() {
    let world = World::new(Ok("")).await;
    let who = world.who(&sso("Developer").replace("profile sso", "profile p")).await.unwrap();
    assert_eq!(who, world.emulator.portals()[0].principal("123456789012", "Developer"));

    let unassigned = world.refused(&sso("Owner").replace("profile sso", "profile p")).await;
    assert!(matches!(unassigned.kind, FaultKind::PermissionDenied { .. }), "{unassigned}");
    assert!(unassigned.detail.contains("permission set Owner in account 123456789012"), "{unassigned}");

    let elsewhere = sso("Developer").replace("corp", "other").replace("profile sso", "profile p");
    let unknown = world.refused(&elsewhere).await;
    assert_eq!(unknown.kind, FaultKind::SignInNeeded { sign_in: "other".to_owned() });
}

#[tokio::test]
async fn what_was_refused_is_not_provided_again() {
    let world = World::new(Ok("")).await;
    let credentials = world.provider(&sso("Developer").replace("profile sso", "profile p")).await.unwrap();
    let key = async || credentials.provide_credentials().await.unwrap().access_key_id().to_owned();
    let first = key().await;
    assert_eq!(key().await, first, "the broker keeps them");
    credentials.rejected();
    assert_ne!(key().await, first);
}

#[tokio::test]
async fn roles_are_assumed_one_after_the_other() {
    let world = World::new(Ok("")).await;
    let chain = format!(
        "{}[profile outer]\nrole_arn = {OUTER}\nexternal_id = xyz\nsource_profile = sso\nrole_session_name = me@work\n\
         [profile p]\nrole_arn = {INNER}\nsource_profile = outer\nduration_seconds = 900\n",
        sso("Developer")
    );
    let who = world.who(&chain).await.unwrap();
    assert_eq!(who, "arn:aws:sts::333333333333:assumed-role/Inner/stormtunnel");

    let stranger = world.refused(&chain.replace("external_id = xyz\n", "")).await;
    let FaultKind::PermissionDenied { principal, action, resource } = &stranger.kind else {
        panic!("{stranger}");
    };
    assert_eq!((action.as_str(), resource.as_str()), ("sts:AssumeRole", OUTER));
    assert!(principal.contains("AWSReservedSSO_Developer_"), "{stranger}");

    let long = world.refused(&chain.replace("duration_seconds = 900", "duration_seconds = 7200")).await;
    assert_eq!(long.kind, FaultKind::CredentialsInvalid { profile: "p".to_owned() });
    assert!(long.detail.contains("1 hour session limit for roles assumed by role chaining"), "{long}");
}

/// A role that wants a code, behind the sign-in, and a role behind that.
fn guarded() -> String {
    format!(
        "{}[profile p]\nrole_arn = {GUARDED}\nsource_profile = sso\nmfa_serial = {SERIAL}\n",
        sso("Developer")
    )
}

#[tokio::test]
async fn a_person_is_asked_for_the_code_of_a_device_once() {
    let world = World::new(Ok("123456")).await;
    let who = world.who(&guarded()).await.unwrap();
    assert_eq!(who, "arn:aws:sts::444444444444:assumed-role/Guarded/stormtunnel");
    assert_eq!(*world.person.asked.lock().unwrap(), [("p".to_owned(), SERIAL.to_owned(), false)]);

    let behind = guarded().replace("profile p", "profile guarded")
        + &format!("[profile p]\nrole_arn = {OUTER}\nexternal_id = xyz\nsource_profile = guarded\n");
    let credentials = world.provider(&behind).await.unwrap();
    for _ in 0..2 {
        credentials.provide_credentials().await.unwrap();
    }
    assert_eq!(world.person.asked.lock().unwrap().len(), 2, "what a chain begins with is kept");
}

#[tokio::test]
async fn who_mistypes_a_code_is_asked_again_and_told_why() {
    let world = World::new(Ok("123456")).await;
    *world.person.slips.lock().unwrap() = 2;
    world.who(&guarded()).await.unwrap();
    let refused: Vec<bool> =
        world.person.asked.lock().unwrap().iter().map(|(_, _, refused)| *refused).collect();
    assert_eq!(refused, [false, true, true]);
}

#[tokio::test]
async fn a_code_that_is_wrong_or_missing_is_told() {
    let world = World::new(Ok("000000")).await;
    let wrong = world.refused(&guarded()).await;
    assert_eq!(wrong.kind, FaultKind::CredentialsInvalid { profile: "p".to_owned() });
    assert_eq!(world.person.asked.lock().unwrap().len(), 3, "not for ever");
    assert!(wrong.detail.contains("invalid MFA one time pass code"), "{wrong}");

    let nobody = Fault::new(FaultKind::CredentialsInvalid { profile: "p".to_owned() }, "nobody is there");
    let world = World::new(Err(nobody.clone())).await;
    assert_eq!(world.refused(&guarded()).await, nobody);
}

#[tokio::test]
async fn a_session_of_aws_login_that_nobody_has_comes_with_the_way_out() {
    let world = World::new(Ok("")).await;
    let config = "[profile p]\nlogin_session = arn:aws:iam::123456789012:user/me\n";
    let fault = world.refused(config).await;
    assert_eq!(fault.kind, FaultKind::CredentialsInvalid { profile: "p".to_owned() });
    assert!(fault.detail.contains("aws configure export-credentials --profile p"), "{fault}");
}
