//! The sign-in service as a client sees it.

use stormtunnel_engine::sign_in::directory::{ConfiguredSignIn, ConfiguredSignIns};
use stormtunnel_engine::sign_in::policy::SignInPolicy;
use stormtunnel_engine::sign_in::ports::{SignInPorts, SignInSite};
use stormtunnel_engine::sign_in::registry::SignInWorld;
use stormtunnel_engine::tasks::Tasks;
use stormtunnel_engine::testing::{
    MemoryAccounts, MemoryCache, MemoryConfig, MemoryKeys, MemoryObserver, MemoryOidc, ScriptedBrowser,
    TestClock, TestEntropy,
};
use stormtunnel_model::{
    LoginEnd, LoginFlow, LoginPage, LoginProgress, LoginSurroundings, LoginWishes, Opener, SignIn,
    SignInChoice, SignInProfile, SsoConfig, SsoProfile, SsoSession,
};
use stormtunnel_proto::RunningLogin;
use stormtunnel_proto::calls::{ListEvents, Login, LoginUpdate, Logout, SignInWatchEvent};
use tokio::sync::watch;

use super::*;

/// A person's world with sign-ins.
struct Person {
    browser: Arc<ScriptedBrowser>,
    accounts: Arc<MemoryAccounts>,
    config: Arc<MemoryConfig>,
    configured: watch::Sender<Arc<ConfiguredSignIns>>,
    sign_ins: SignIns,
}

impl Person {
    fn new(names: &[&str]) -> Self {
        let browser: Arc<ScriptedBrowser> = Arc::default();
        let configured = watch::Sender::new(Arc::new(names.iter().map(|name| configured(name)).collect()));
        let ports = SignInPorts {
            oidc: Arc::new(MemoryOidc::default()),
            cache: Arc::new(MemoryCache::default()),
            keys: Arc::new(MemoryKeys::default()),
            browser: Arc::clone(&browser) as _,
            observer: Arc::new(MemoryObserver::default()),
            clock: Arc::new(TestClock::default()),
            entropy: Arc::new(TestEntropy::default()),
        };
        let policy = watch::Sender::new(SignInPolicy::default());
        let (configured_now, policy) = (configured.subscribe(), policy.subscribe());
        let accounts = Arc::new(MemoryAccounts::default());
        let config = Arc::new(MemoryConfig::new(configured.clone()));
        let world = SignInWorld {
            ports,
            accounts: Arc::clone(&accounts) as _,
            config: Arc::clone(&config) as _,
            configured: configured_now,
            policy,
            tasks: Tasks::new(),
        };
        Self { browser, accounts, config, configured, sign_ins: SignIns::start(world).unwrap() }
    }
}

fn configured(name: &str) -> (stormtunnel_model::SignInName, ConfiguredSignIn) {
    let site = SignInSite {
        name: name.parse().unwrap(),
        start_url: format!("https://{name}.awsapps.com/start"),
        region: "eu-west-1".parse().unwrap(),
        scopes: Vec::new(),
    };
    let profile = SignInProfile {
        profile: format!("{name}-admin").parse().unwrap(),
        account: Some("123456789012".to_owned()),
        role: Some("Admin".to_owned()),
    };
    (site.name.clone(), ConfiguredSignIn { site, profiles: vec![profile] })
}

fn named(name: &str) -> SignInChoice {
    SignInChoice::Named(name.parse().unwrap())
}

fn login(sign_in: SignInChoice) -> Login {
    let surroundings = LoginSurroundings { display: true, ..LoginSurroundings::default() };
    Login { sign_in, surroundings, ..Login::default() }
}

/// Reads a login to its end.
async fn finished(mut login: RunningLogin) -> (Vec<LoginUpdate>, Option<CallError>) {
    let mut updates = Vec::new();
    loop {
        match within(login.next()).await {
            Ok(Some(update)) => updates.push(update),
            Ok(None) => return (updates, None),
            Err(error) => return (updates, Some(error)),
        }
    }
}

fn labels(sign_ins: &[SignIn]) -> Vec<(&str, &str)> {
    sign_ins.iter().map(|one| (one.name.as_str(), one.status.state.label())).collect()
}

#[tokio::test]
async fn a_login_is_streamed_and_joined_and_the_sign_in_is_good_after_it() {
    let person = Person::new(&["corp", "lab"]);
    let daemon = Daemon::with(person.sign_ins.clone()).await;
    let client = daemon.client().await;
    let first = client.login(login(named("corp"))).await.unwrap();
    let profile = SignInChoice::OfProfile("corp-admin".parse().unwrap());
    let finish = async {
        person.browser.wait_for_opened(1).await;
        let second = client.login(Login { if_needed: true, ..login(profile) }).await.unwrap();
        person.browser.finish(Some(Ok(())));
        finished(second).await
    };
    let ((first, none), (second, _)) = tokio::join!(finished(first), finish);
    assert!(none.is_none(), "it ends without a reason: {none:?}");
    let LoginUpdate::Begun { sign_in, flow, reason } = &first[0] else { panic!("{first:?}") };
    assert_eq!((sign_in.as_str(), *flow), ("corp", LoginFlow::AuthorizationCode));
    assert!(reason.contains("come back"), "{reason}");
    let shown = |update: &LoginUpdate| matches!(update, LoginUpdate::Progress(LoginProgress::Waiting { url, page: LoginPage::Opened, .. }) if url.contains("authorize"));
    assert!(first.iter().any(shown), "{first:?}");
    for updates in [&first, &second] {
        let Some(LoginUpdate::SignedIn(sign_in)) = updates.last() else { panic!("{updates:?}") };
        assert_eq!(sign_in.status.state.label(), "Authenticated");
    }
    assert_eq!(person.browser.opened().len(), 1);
    let renewed = client.refresh(named("corp")).await.unwrap();
    assert_eq!(renewed.profiles[0].role.as_deref(), Some("Admin"));
    let out = client.logout(Logout::One(named("corp"))).await.unwrap();
    assert_eq!(out.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["corp"]);
    assert_eq!(client.logout(Logout::All).await.unwrap().len(), 2);
    let told = async {
        loop {
            let events = client.list_events(ListEvents::default()).await.unwrap();
            // They are on their way for a moment.
            if events.len() == 4 {
                return events;
            }
            tokio::task::yield_now().await;
        }
    };
    let events = within(told).await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(kinds, ["daemon_started", "signed_in", "token_renewed", "signed_out"]);
    daemon.stop().await;
}

#[tokio::test]
async fn sign_ins_are_watched_from_a_snapshot_on() {
    let person = Person::new(&["corp"]);
    let daemon = Daemon::with(person.sign_ins.clone()).await;
    let client = daemon.client().await;
    let mut watch = client.watch_sign_ins(None).await.unwrap();
    let first = within(watch.next()).await.unwrap().unwrap();
    assert!(matches!(&first.event, SignInWatchEvent::Snapshot(all) if all.len() == 1), "{first:?}");
    person.configured.send_replace(Arc::new([configured("lab")].into()));
    let (mut removed, mut added) = (false, false);
    let mut last = first.revision;
    while !(removed && added) {
        let update = within(watch.next()).await.unwrap().unwrap();
        last = update.revision;
        match update.event {
            SignInWatchEvent::Removed(name) => removed |= name.as_str() == "corp",
            SignInWatchEvent::Changed(sign_in) => added |= sign_in.name.as_str() == "lab",
            SignInWatchEvent::Snapshot(_) | SignInWatchEvent::Resumed => panic!("neither is due"),
        }
    }
    let mut resumed = client.watch_sign_ins(Some(last)).await.unwrap();
    assert_eq!(within(resumed.next()).await.unwrap().unwrap().event, SignInWatchEvent::Resumed);
    let listed = client.list_sign_ins().await.unwrap();
    assert_eq!(labels(&listed)[0].0, "lab");
    daemon.stop().await;
    let ended = loop {
        match within(watch.next()).await {
            Ok(Some(_)) => {}
            ended => break fault(ended),
        }
    };
    assert_eq!(ended.kind, FaultKind::ShuttingDown);
}

#[tokio::test]
async fn a_login_ends_by_command_and_with_those_who_wait_for_it() {
    let person = Person::new(&["corp"]);
    let daemon = Daemon::with(person.sign_ins.clone()).await;
    let client = daemon.client().await;
    let failed = |end| FaultKind::LoginFailed { sign_in: "corp".to_owned(), end };
    let waiting = client.login(login(SignInChoice::Only)).await.unwrap();
    let cancel = async {
        person.browser.wait_for_opened(1).await;
        client.cancel_login(named("corp")).await.unwrap();
    };
    let ((_, error), ()) = tokio::join!(finished(waiting), cancel);
    assert_eq!(fault(Err::<(), _>(error.unwrap())).kind, failed(LoginEnd::Cancelled));

    let mut left = client.login(login(SignInChoice::Only)).await.unwrap();
    within(left.next()).await.unwrap();
    person.browser.wait_for_opened(2).await;
    drop(left);
    let mut watch = client.watch_sign_ins(None).await.unwrap();
    let is_over = |event: &SignInWatchEvent| match event {
        SignInWatchEvent::Snapshot(all) => all[0].status.activity.is_none(),
        SignInWatchEvent::Changed(sign_in) => sign_in.status.activity.is_none(),
        SignInWatchEvent::Removed(_) | SignInWatchEvent::Resumed => false,
    };
    while !is_over(&within(watch.next()).await.unwrap().unwrap().event) {}

    let waiting = client.login(login(SignInChoice::Only)).await.unwrap();
    let stop = async {
        person.browser.wait_for_opened(3).await;
        daemon.stop().await;
    };
    let ((_, error), ()) = tokio::join!(finished(waiting), stop);
    assert_eq!(
        fault(Err::<(), _>(error.unwrap())).kind,
        FaultKind::ShuttingDown,
        "a person is not waited for"
    );
}

#[tokio::test]
async fn what_is_asked_for_reaches_the_login() {
    let person = Person::new(&["corp"]);
    let daemon = Daemon::with(person.sign_ins.clone()).await;
    let client = daemon.client().await;
    let wishes = LoginWishes { flow: Some(LoginFlow::AuthorizationCode), opener: Opener::Nobody };
    person.browser.finish(Some(Ok(())));
    let asked = Login { wishes, surroundings: LoginSurroundings::default(), ..login(named("corp")) };
    let (updates, _) = finished(client.login(asked).await.unwrap()).await;
    let LoginUpdate::Begun { reason, .. } = &updates[0] else { panic!("{updates:?}") };
    assert_eq!(reason, "you asked for it");
    assert_eq!(person.browser.opened(), Vec::<String>::new(), "the client shows the address");
    let address = SignInChoice::At {
        start_url: "https://other.awsapps.com/start".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
    };
    let missing = fault(client.refresh(address).await);
    assert_eq!(missing.kind.name(), "sign_in_not_found");
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_without_sign_ins_answers_so() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    assert_eq!(client.list_sign_ins().await.unwrap(), []);
    assert_eq!(client.logout(Logout::All).await.unwrap(), []);
    let unknown = client.login(login(named("corp"))).await.map(drop);
    let unknown = fault(unknown);
    assert_eq!(unknown.kind, FaultKind::SignInNotFound { sign_in: "corp".to_owned() });
    assert_eq!(unknown.detail, "no AWS profile signs in with SSO");
    daemon.stop().await;
}

#[tokio::test]
async fn what_a_person_may_use_is_listed_once_somebody_is_signed_in() {
    let person = Person::new(&["corp"]);
    person.accounts.put("111122223333", &["Admin", "Reader"]);
    let daemon = Daemon::with(person.sign_ins.clone()).await;
    let client = daemon.client().await;
    let needed = fault(client.list_accounts(named("corp")).await);
    assert_eq!(needed.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
    let running = client.login(login(named("corp"))).await.unwrap();
    let finish = async {
        person.browser.wait_for_opened(1).await;
        person.browser.finish(Some(Ok(())));
    };
    tokio::join!(finished(running), finish);
    let accounts = client.list_accounts(named("corp")).await.unwrap();
    assert_eq!(accounts[0].name.as_deref(), Some("account 111122223333"));
    let account = accounts[0].id.parse().unwrap();
    assert_eq!(client.list_roles(named("corp"), &account).await.unwrap(), ["Admin", "Reader"]);
    daemon.stop().await;
}

#[tokio::test]
async fn profiles_are_configured_and_what_is_in_the_way_is_told() {
    let person = Person::new(&["corp"]);
    let daemon = Daemon::with(person.sign_ins.clone()).await;
    let client = daemon.client().await;
    let profile = SsoProfile {
        name: "dev".parse().unwrap(),
        account: "111122223333".parse().unwrap(),
        role: "Admin".parse().unwrap(),
        region: Some("eu-west-1".parse().unwrap()),
        output: None,
    };
    let session = SsoSession {
        name: "lab".parse().unwrap(),
        start_url: "https://lab.awsapps.com/start".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        scopes: vec!["sso:account:access".parse().unwrap()],
    };
    let config = SsoConfig { session, profiles: vec![profile], overwrite: false };
    let configured = client.configure(config.clone()).await.unwrap();
    let sections: Vec<String> = configured.sections.iter().map(|one| one.section.to_string()).collect();
    assert_eq!(sections, ["[sso-session lab]", "[profile dev]"]);
    let lab = client.list_sign_ins().await.unwrap().into_iter().find(|one| one.name.as_str() == "lab");
    assert_eq!(lab.unwrap().profiles[0].role.as_deref(), Some("Admin"), "it is there at once");
    let exists = FaultKind::SectionExists { section: "[profile dev]".to_owned() };
    person.config.refuse(Fault::new(exists.clone(), "[profile dev]: it has role_arn"));
    let told = fault(client.configure(config).await);
    assert_eq!((told.kind, told.detail.as_str()), (exists, "[profile dev]: it has role_arn"));
    daemon.stop().await;
}
