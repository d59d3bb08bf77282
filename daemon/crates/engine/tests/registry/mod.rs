//! All sign-ins, and the tunnels that live on them.

mod configure;

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use stormtunnel_engine::ports::{AwsScope, PortFuture, Resumption, SessionGrant, SessionRequest, SsmApi};
use stormtunnel_engine::sign_in::board::SignInChange;
use stormtunnel_engine::sign_in::directory::{ConfiguredSignIn, ConfiguredSignIns};
use stormtunnel_engine::sign_in::registry::{LoginRequest, SignInWorld, SignIns};
use stormtunnel_engine::sign_in::running::LoginNews;
use stormtunnel_engine::testing::{
    MemoryAccounts, MemoryConfig, ScriptedSsm, World as EngineWorld, spec, wait_until as wait_for_tunnel,
};
use stormtunnel_engine::{Engine, EngineHandle, Ports};
use stormtunnel_model::{
    EventKind, LoginEnd, LoginSurroundings, LoginWishes, ResolvedTarget, SignIn, SignInChoice, SignInEvent,
    SignInProfile, SsmSessionId, TunnelSpec, TunnelState,
};

use super::*;

mod notified;

/// A sign-in of that name, used by these profiles.
fn configured(world: &World, name: &str, profiles: &[String]) -> (SignInName, ConfiguredSignIn) {
    let profile = |name: &String| SignInProfile { profile: name.parse().unwrap(), account: None, role: None };
    let site = SignInSite { name: name.parse().unwrap(), ..world.site() };
    (site.name.clone(), ConfiguredSignIn { site, profiles: profiles.iter().map(profile).collect() })
}

/// Profiles `NAME-0`, `NAME-1` and so on.
fn profiles(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number}")).collect()
}

struct Setup {
    world: World,
    accounts: Arc<MemoryAccounts>,
    config: Arc<MemoryConfig>,
    configured: watch::Sender<Arc<ConfiguredSignIns>>,
    sign_ins: SignIns,
}

impl Setup {
    fn new(world: World, sign_ins: impl IntoIterator<Item = (SignInName, ConfiguredSignIn)>) -> Self {
        let configured = watch::Sender::new(Arc::new(sign_ins.into_iter().collect()));
        let accounts = Arc::new(MemoryAccounts::default());
        let config = Arc::new(MemoryConfig::new(configured.clone()));
        let sign_ins = SignIns::start(SignInWorld {
            ports: world.ports(),
            accounts: Arc::clone(&accounts) as _,
            config: Arc::clone(&config) as _,
            configured: configured.subscribe(),
            policy: world.policy.subscribe(),
            tasks: world.tasks.clone(),
        });
        Self { world, accounts, config, configured, sign_ins: sign_ins.unwrap() }
    }

    fn of(world: World, names: &[&str]) -> Self {
        let all: Vec<_> = names.iter().map(|name| configured(&world, name, &profiles(name, 10))).collect();
        Self::new(world, all)
    }

    fn configure(&self, sign_ins: impl IntoIterator<Item = (SignInName, ConfiguredSignIn)>) {
        self.configured.send_replace(Arc::new(sign_ins.into_iter().collect()));
    }

    fn handle(&self, name: &str) -> SignInHandle {
        self.sign_ins.get(&name.parse().unwrap()).unwrap()
    }

    /// What becomes of a login, news by news.
    async fn login(&self, sign_in: SignInChoice, by: LoginBy) -> Vec<Result<LoginNews, Fault>> {
        self.sign_ins.login(&request(sign_in, by)).unwrap().collect().await
    }

    /// Waits until the board shows what is wanted.
    async fn shows(&self, wanted: impl Fn(&[SignIn]) -> bool) {
        let mut watcher = self.sign_ins.watch(None);
        let shown = async {
            while !wanted(&self.sign_ins.list()) {
                watcher.next().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, shown).await;
        assert!(waited.is_ok(), "it never did; it shows {:?}", self.sign_ins.list());
    }

    async fn engine(&self, engine: &EngineWorld) -> (Engine, EngineHandle) {
        let gate = Gate { ssm: Arc::clone(&engine.ssm), sign_ins: self.sign_ins.clone() };
        let ports = Ports { ssm: Arc::new(gate), sign_ins: self.sign_ins.clone(), ..engine.ports() };
        Engine::start(ports, engine.settings.subscribe()).await.unwrap()
    }
}

fn named(name: &str) -> SignInChoice {
    SignInChoice::Named(name.parse().unwrap())
}

fn request(sign_in: SignInChoice, by: LoginBy) -> LoginRequest {
    let surroundings = LoginSurroundings { display: true, ..LoginSurroundings::default() };
    LoginRequest { sign_in, by, wishes: LoginWishes::default(), surroundings }
}

/// A Session Manager that wants a token of the sign-in after which the profile is named.
struct Gate {
    ssm: Arc<ScriptedSsm>,
    sign_ins: SignIns,
}

impl SsmApi for Gate {
    fn start_session<'a>(
        &'a self,
        request: &'a SessionRequest,
    ) -> PortFuture<'a, Result<SessionGrant, Fault>> {
        Box::pin(async move {
            let profile = request.scope.profile.as_ref().unwrap().as_str();
            let (name, _) = profile.split_once('-').unwrap();
            self.sign_ins.get(&name.parse().unwrap()).unwrap().token().await?;
            self.ssm.start_session(request).await
        })
    }

    fn resume_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<Resumption, Fault>> {
        self.ssm.resume_session(scope, id)
    }

    fn is_connected<'a>(
        &'a self,
        scope: &'a AwsScope,
        node: &'a ResolvedTarget,
    ) -> PortFuture<'a, Result<bool, Fault>> {
        self.ssm.is_connected(scope, node)
    }

    fn terminate_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<(), Fault>> {
        self.ssm.terminate_session(scope, id)
    }
}

fn on_profile(name: &str, profile: &str) -> TunnelSpec {
    TunnelSpec { profile: Some(profile.parse().unwrap()), ..spec(name) }
}

fn is_blocked_by(state: &TunnelState, name: &str) -> bool {
    let needed = FaultKind::SignInNeeded { sign_in: name.to_owned() };
    matches!(state, TunnelState::Blocked { fault } if fault.kind == needed)
}

/// What the history has of sign-ins.
async fn told(handle: &EngineHandle) -> Vec<(String, SignInEvent)> {
    let events = handle.events(&[], None, 1000, None).await.unwrap();
    let of_sign_in = |kind| {
        if let EventKind::SignIn { sign_in, event } = kind {
            Some((sign_in.to_string(), event))
        } else {
            None
        }
    };
    events.into_iter().filter_map(|event| of_sign_in(event.kind)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_tunnels_go_on_after_one_login() {
    let world = World::signed_in(Duration::ZERO);
    world.oidc.end_session();
    let setup = Setup::of(world, &["corp"]);
    let engine_world = EngineWorld::default();
    let (engine, handle) = setup.engine(&engine_world).await;
    let names: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let spec = on_profile(name, &format!("corp-{}", number % 10));
        handle.create(None, spec, true).await.unwrap();
    }
    for name in &names {
        wait_for_tunnel(&handle, name, |tunnel| is_blocked_by(&tunnel.status.state, "corp")).await;
    }
    assert_eq!(setup.world.observer.notices().len(), 1, "one notification for all of them");

    let attended = LoginBy::Tunnel { attended: true };
    let logins = names.iter().map(|_| setup.login(named("corp"), attended));
    let person = async {
        setup.world.browser.wait_for_opened(1).await;
        setup.world.browser.finish(Some(Ok(())));
    };
    let begun = tokio::time::Instant::now();
    let (logins, ()) = tokio::join!(join_all(logins), person);
    for news in &logins {
        assert!(matches!(news.last(), Some(Ok(LoginNews::SignedIn(_)))), "{news:?}");
    }
    for name in &names {
        wait_for_tunnel(&handle, name, |tunnel| tunnel.status.session.is_some()).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waited for the next look");
    let started: BTreeSet<_> = engine_world.ssm.open_sessions().into_iter().collect();
    assert_eq!((setup.world.browser.opened().len(), started.len()), (1, 100));
    let told = told(&handle).await;
    assert!(
        matches!(
            &told[..],
            [
                (_, SignInEvent::LoginNeeded { before: None, .. }),
                (_, SignInEvent::SignedIn { elsewhere: false })
            ]
        ),
        "{told:?}"
    );
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_fails_leaves_the_other_alone() {
    let world = World::signed_in(Duration::ZERO);
    let lab: SignInName = "lab".parse().unwrap();
    let token = world.oidc.token("lab's", world.clock.wall().plus(MINUTE * 60));
    world.cache.set(&lab, SharedFile::Token(Arc::clone(&token)));
    let site = SignInSite { name: lab.clone(), ..world.site() };
    world.keys.put(&lab, StoredToken::new(token, Arc::new(site), true));
    world.oidc.end_session();
    let setup = Setup::of(world, &["corp", "lab"]);
    let engine_world = EngineWorld::default();
    let (engine, handle) = setup.engine(&engine_world).await;
    handle.create(None, on_profile("one", "corp-0"), true).await.unwrap();
    handle.create(None, on_profile("other", "lab-0"), true).await.unwrap();
    wait_for_tunnel(&handle, "one", |tunnel| is_blocked_by(&tunnel.status.state, "corp")).await;
    wait_for_tunnel(&handle, "other", |tunnel| tunnel.status.session.is_some()).await;
    setup.sign_ins.logout(&named("corp")).await.unwrap();
    assert!(setup.handle("lab").token().await.is_ok());
    let names: Vec<String> = told(&handle).await.into_iter().map(|(name, _)| name).collect();
    assert!(!names.is_empty() && names.iter().all(|name| name == "corp"), "{names:?}");
    assert!(engine_world.ssm.terminates() == 0, "the other tunnel noticed nothing");
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_of_another_tool_frees_tunnels_too() {
    let setup = Setup::of(World::new(), &["corp"]);
    let engine_world = EngineWorld::default();
    let (engine, handle) = setup.engine(&engine_world).await;
    handle.create(None, on_profile("db", "corp-3"), true).await.unwrap();
    wait_for_tunnel(&handle, "db", |tunnel| is_blocked_by(&tunnel.status.state, "corp")).await;
    let theirs = setup.world.oidc.token("theirs", setup.world.clock.wall().plus(MINUTE * 60));
    setup.world.share(&theirs);
    let begun = tokio::time::Instant::now();
    setup.sign_ins.shared_changed().await;
    wait_for_tunnel(&handle, "db", |tunnel| tunnel.status.session.is_some()).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    setup.world.cache.set(&setup.world.name, SharedFile::Missing);
    setup.sign_ins.shared_changed().await;
    wait_for_label(&setup.handle("corp"), "Needs login").await;
    let told: Vec<SignInEvent> = told(&handle).await.into_iter().map(|(_, event)| event).collect();
    assert!(
        told.contains(&SignInEvent::SignedIn { elsewhere: true })
            && told.contains(&SignInEvent::SignedOut { elsewhere: true }),
        "{told:?}"
    );
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn incidents_reach_every_sign_in_and_renewals_are_told() {
    let setup = Setup::of(World::signed_in(MINUTE * 60), &["corp"]);
    let engine_world = EngineWorld::default();
    let (engine, handle) = setup.engine(&engine_world).await;
    setup.handle("corp").token().await.unwrap();
    engine_world.incidents.report(Incident::Woke { slept: MINUTE, dark: true });
    wait_for_label(&setup.handle("corp"), "Expired").await;
    let network = SsoError::Local(Fault::new(FaultKind::Network, "dns error"));
    setup.world.oidc.fail_next(network.clone());
    setup.world.oidc.fail_next(network);
    engine_world.incidents.report(Incident::Woke { slept: MINUTE, dark: false });
    wait_for_label(&setup.handle("corp"), "Authenticated").await;
    let told: Vec<&str> = told(&handle).await.iter().map(|(_, event)| event.name()).collect();
    assert_eq!(told, ["renewal_failed", "token_renewed"], "two failures alike are one event");
    engine.shutdown(BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn sign_ins_follow_what_is_configured() {
    let setup = Setup::of(World::signed_in(MINUTE * 60), &["corp", "old"]);
    let mut watcher = setup.sign_ins.watch(None);
    let first = watcher.next().await.unwrap();
    assert!(matches!(&first.change, SignInChange::Snapshot(all) if all.len() == 2), "{first:?}");
    let corp = setup.handle("corp");
    corp.token().await.unwrap();

    let (name, mut other) = configured(&setup.world, "corp", &profiles("corp", 1));
    setup.configure([(name.clone(), other.clone()), configured(&setup.world, "new", &[])]);
    let names = |all: &[SignIn]| all.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
    setup.shows(|all| names(all) == ["corp", "new"] && all[0].profiles.len() == 1).await;
    corp.token().await.expect("another profile is no other sign-in");

    other.site.start_url = "https://elsewhere.invalid/start".to_owned();
    setup.configure([(name, other)]);
    setup.shows(|all| names(all) == ["corp"] && all[0].start_url.contains("elsewhere")).await;
    assert_eq!(corp.token().await.unwrap_err().kind, FaultKind::ShuttingDown, "this one is gone");
    assert_eq!(setup.handle("corp").site().start_url, "https://elsewhere.invalid/start");

    let resumed = setup.sign_ins.watch(Some(first.revision)).take(5).collect::<Vec<_>>();
    let changes: Vec<SignInChange> = resumed.await.into_iter().map(|news| news.change).collect();
    assert_eq!(changes[0], SignInChange::Resumed);
    let gone = |name: &str| changes.contains(&SignInChange::Removed(name.parse().unwrap()));
    assert!(gone("old") && gone("new"), "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_login_is_shown_to_everybody_who_joins_it() {
    let setup = Setup::of(World::new(), &["corp"]);
    let waiting = |news: &[Result<LoginNews, Fault>]| {
        let at_page = |one: &Result<LoginNews, Fault>| {
            matches!(one, Ok(LoginNews::Progress(LoginProgress::Waiting { page: LoginPage::Opened, .. })))
        };
        news.iter().filter(|one| at_page(one)).count()
    };
    let second = async {
        setup.world.browser.wait_for_opened(1).await;
        let joined = setup.login(SignInChoice::Only, LoginBy::Person);
        let finish = async { setup.world.browser.finish(Some(Ok(()))) };
        tokio::join!(joined, finish).0
    };
    let (first, second) = tokio::join!(setup.login(named("corp"), LoginBy::Person), second);
    assert!(matches!(&first[0], Ok(LoginNews::Begun { sign_in, .. }) if sign_in.as_str() == "corp"));
    assert_eq!(waiting(&first), 1, "{first:?}");
    for news in [&first, &second] {
        let Some(Ok(LoginNews::SignedIn(sign_in))) = news.last() else { panic!("{news:?}") };
        assert_eq!(sign_in.status.state.label(), "Authenticated", "with the state that came of it");
    }
    assert_eq!(setup.world.browser.opened().len(), 1);
    let renewed = setup.sign_ins.refresh(&SignInChoice::Only).await.unwrap();
    assert_eq!((renewed.status.activity, setup.world.oidc.refreshed()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_fails_says_how() {
    let setup = Setup::of(World::new(), &["corp"]);
    let cancel = async {
        setup.world.browser.wait_for_opened(1).await;
        setup.sign_ins.cancel_login(&named("corp")).await.unwrap();
    };
    let (news, ()) = tokio::join!(setup.login(named("corp"), LoginBy::Person), cancel);
    let end = |news: &[Result<LoginNews, Fault>]| news.last().unwrap().as_ref().unwrap_err().kind.clone();
    let failed = |end| FaultKind::LoginFailed { sign_in: "corp".to_owned(), end };
    assert_eq!(end(&news), failed(LoginEnd::Cancelled));
    assert_eq!(end(&setup.login(named("corp"), LoginBy::Person).await), failed(LoginEnd::TimedOut));
    let unattended = LoginBy::Tunnel { attended: false };
    assert_eq!(end(&setup.login(named("corp"), unattended).await), failed(LoginEnd::NobodyThere));
    let unknown = setup.sign_ins.login(&request(named("crop"), LoginBy::Person)).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no sign-in \"crop\": known are corp");
}

#[tokio::test(start_paused = true)]
async fn a_login_by_address_needs_no_configuration() {
    let setup = Setup::new(World::new(), []);
    let address = || SignInChoice::At {
        start_url: "https://lab.awsapps.com/start".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
    };
    assert_eq!(setup.sign_ins.refresh(&address()).await.unwrap_err().kind.name(), "sign_in_not_found");
    setup.world.browser.finish(Some(Ok(())));
    let news = setup.login(address(), LoginBy::Person).await;
    let Some(Ok(LoginNews::SignedIn(sign_in))) = news.last() else { panic!("{news:?}") };
    assert_eq!((sign_in.name.as_str(), sign_in.region.as_str()), (sign_in.start_url.as_str(), "us-east-1"));
    setup.configure([configured(&setup.world, "corp", &[])]);
    setup.shows(|all| all.len() == 2).await;
    assert_eq!(setup.sign_ins.logout_all().await.unwrap().len(), 2);
    setup.shows(|all| all.len() == 1 && all[0].name.as_str() == "corp").await;
    assert!(setup.world.keys.stored(&sign_in.name).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_daemon_without_sign_ins_says_so() {
    let sign_ins = SignIns::none();
    let address = SignInChoice::At {
        start_url: "https://lab.awsapps.com/start".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
    };
    for choice in [SignInChoice::Only, named("corp"), address] {
        let fault = sign_ins.login(&request(choice, LoginBy::Person)).unwrap_err();
        assert_eq!(fault.kind.name(), "sign_in_not_found", "{fault}");
    }
    assert_eq!((sign_ins.list(), sign_ins.logout_all().await), (Vec::new(), Ok(Vec::new())));
}
