//! The actor of a sign-in against scripted twins of the world.

#![expect(clippy::unwrap_used, reason = "a helper's panic is its test's failure")]

mod credentials;
mod profiles;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use stormtunnel_engine::ports::{Clock as _, Incident};
use stormtunnel_engine::sign_in::actor::{SignInHandle, UsableToken};
use stormtunnel_engine::sign_in::classify::{LoginFailure, SsoError};
use stormtunnel_engine::sign_in::flow::{LoginFlow, LoginPlan, Opener};
use stormtunnel_engine::sign_in::machine::{LoginBy, LoginOrder, Notice};
use stormtunnel_engine::sign_in::policy::SignInPolicy;
use stormtunnel_engine::sign_in::ports::{SharedFile, SignInPorts, SignInSite};
use stormtunnel_engine::sign_in::token::{SsoToken, StoredToken};
use stormtunnel_engine::tasks::Tasks;
use stormtunnel_engine::testing::{
    MemoryCache, MemoryKeys, MemoryObserver, MemoryOidc, PATIENCE, ScriptedBrowser, TestClock, TestEntropy,
};
use stormtunnel_model::{
    Fault, FaultKind, LoginPage, LoginProgress, LoginReason, SignInActivity, SignInEvent, SignInName,
    SignInState, SignInStatus,
};
use tokio::sync::watch;

const MINUTE: Duration = Duration::from_secs(60);
const BOUND: Duration = Duration::from_secs(30);

struct World {
    name: SignInName,
    oidc: Arc<MemoryOidc>,
    cache: Arc<MemoryCache>,
    keys: Arc<MemoryKeys>,
    browser: Arc<ScriptedBrowser>,
    observer: Arc<MemoryObserver>,
    clock: Arc<TestClock>,
    policy: watch::Sender<SignInPolicy>,
    tasks: Tasks,
}

impl World {
    fn new() -> Self {
        Self {
            name: "corp".parse().unwrap(),
            oidc: Arc::default(),
            cache: Arc::default(),
            keys: Arc::default(),
            browser: Arc::default(),
            observer: Arc::default(),
            clock: Arc::default(),
            policy: watch::Sender::new(SignInPolicy::default()),
            tasks: Tasks::new(),
        }
    }

    /// A world in which somebody signed in, so long before the token's end.
    fn signed_in(left: Duration) -> Self {
        let world = Self::new();
        let token = world.oidc.token("first", world.clock.wall().plus(left));
        world.share(&token);
        world.keys.put(&world.name, StoredToken::new(token, Arc::new(world.site()), true));
        world
    }

    fn share(&self, token: &Arc<SsoToken>) {
        self.cache.set(&self.name, SharedFile::Token(Arc::clone(token)));
    }

    fn site(&self) -> SignInSite {
        SignInSite {
            name: self.name.clone(),
            start_url: "https://d-1234567890.awsapps.com/start".to_owned(),
            region: "eu-west-1".parse().unwrap(),
            scopes: Vec::new(),
        }
    }

    fn ports(&self) -> SignInPorts {
        SignInPorts {
            oidc: Arc::clone(&self.oidc) as _,
            cache: Arc::clone(&self.cache) as _,
            keys: Arc::clone(&self.keys) as _,
            browser: Arc::clone(&self.browser) as _,
            observer: Arc::clone(&self.observer) as _,
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::new(TestEntropy::default()),
        }
    }

    fn start(&self) -> SignInHandle {
        self.start_at(self.site())
    }

    fn start_at(&self, site: SignInSite) -> SignInHandle {
        SignInHandle::start(site, self.ports(), self.policy.subscribe(), &self.tasks).unwrap()
    }
}

async fn wait_until(handle: &SignInHandle, wanted: impl Fn(&SignInStatus) -> bool) -> SignInStatus {
    let mut watch = handle.watch();
    let waited = tokio::time::timeout(PATIENCE * 24, watch.wait_for(|status| wanted(status))).await;
    match waited {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!("it never got there; it is {:?}", handle.watch().borrow().clone()),
    }
}

async fn wait_for_label(handle: &SignInHandle, label: &str) -> SignInStatus {
    wait_until(handle, |status| status.state.label() == label).await
}

fn order(by: LoginBy, flow: LoginFlow) -> LoginOrder {
    LoginOrder { by, plan: LoginPlan { flow, opener: Opener::Default, reason: "a test" } }
}

fn person() -> LoginOrder {
    order(LoginBy::Person, LoginFlow::AuthorizationCode)
}

fn access(token: &UsableToken) -> String {
    token.token.access.expose_secret().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_need_a_login_get_one() {
    let world = World::new();
    let handle = world.start();
    let tunnel = || order(LoginBy::Tunnel { attended: true }, LoginFlow::AuthorizationCode);
    let asked = (0..100).map(|_| handle.login(tunnel()));
    let person = async {
        world.browser.wait_for_opened(1).await;
        world.browser.finish(Some(Ok(())));
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(asked), person);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((world.browser.opened().len(), world.oidc.registered()), (1, 1));
    let token = handle.token().await.unwrap();
    world.cache.wait_for_access(&world.name, &access(&token)).await;
    assert_eq!(world.keys.access(&world.name), Some(access(&token)));
}

#[tokio::test(start_paused = true)]
async fn whoever_needs_an_expired_token_waits_for_one_renewal() {
    let world = World::signed_in(Duration::ZERO);
    let handle = world.start();
    let tokens = futures_util::future::join_all((0..20).map(|_| handle.token())).await;
    assert!(tokens.iter().all(|token| access(token.as_ref().unwrap()) == "token 1"), "{tokens:?}");
    assert_eq!(world.oidc.refreshed(), 1);
    world.cache.wait_for_access(&world.name, "token 1").await;
    assert_eq!(world.keys.access(&world.name).as_deref(), Some("token 1"));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_all_day_by_itself() {
    let world = World::signed_in(MINUTE * 60);
    let handle = world.start();
    handle.token().await.unwrap();
    for number in 1..=24 {
        world.cache.wait_for_access(&world.name, &format!("token {number}")).await;
        assert_eq!(world.keys.access(&world.name), Some(format!("token {number}")));
    }
    assert_eq!((world.oidc.refreshed(), world.observer.notices()), (24, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_back_needs_nobody() {
    let world = World::signed_in(Duration::ZERO);
    let network = || SsoError::Local(Fault::new(FaultKind::Network, "dns error"));
    (0..5).for_each(|_| world.oidc.fail_next(network()));
    let handle = world.start();
    assert_eq!(handle.token().await.unwrap_err().kind, FaultKind::Network);
    let status = wait_for_label(&handle, "Authenticated").await;
    assert_eq!(status.trouble, None);
    assert_eq!((world.oidc.refreshed(), world.browser.opened().len()), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_aws_does_not_accept_is_renewed_once() {
    let world = World::signed_in(MINUTE * 60);
    let handle = world.start();
    let first = handle.token().await.unwrap();
    futures_util::future::join_all((0..20).map(|_| handle.rejected(first.generation))).await;
    let second = handle.token().await.unwrap();
    assert_eq!((access(&second).as_str(), world.oidc.refreshed()), ("token 1", 1));
    assert!(second.generation > first.generation);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_session_is_told_once_and_one_login_ends_it() {
    let world = World::signed_in(Duration::ZERO);
    world.oidc.end_session();
    let handle = world.start();
    let fault = handle.token().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
    let status = wait_for_label(&handle, "Needs login").await;
    assert_eq!(status.state, SignInState::NeedsLogin { reason: LoginReason::SessionEnded });
    let notices = world.observer.notices();
    assert!(matches!(notices[..], [Notice::LoginNeeded { before: None, .. }]), "{notices:?}");
    world.browser.finish(Some(Ok(())));
    handle.login(person()).await.unwrap();
    handle.token().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_another_tool_does_counts_here() {
    let world = World::signed_in(MINUTE * 60);
    let handle = world.start();
    assert_eq!(access(&handle.token().await.unwrap()), "first");
    let theirs = world.oidc.token("theirs", world.clock.wall().plus(MINUTE * 90));
    world.share(&theirs);
    handle.shared_changed().await;
    while access(&handle.token().await.unwrap()) != "theirs" {
        tokio::task::yield_now().await;
    }
    world.cache.set(&world.name, SharedFile::Missing);
    handle.shared_changed().await;
    let status = wait_for_label(&handle, "Needs login").await;
    assert_eq!(status.state, SignInState::NeedsLogin { reason: LoginReason::SignedOutElsewhere });
    handle.logout().await.unwrap();
    assert!(world.keys.stored(&world.name).is_none());
    assert!(world.observer.forgotten() >= 1);
    assert_eq!(world.observer.events(), [SignInEvent::SignedOut { elsewhere: true }]);
    assert!(matches!(world.cache.file(&world.name), SharedFile::Missing), "it is not put back");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_when_a_logout_returns() {
    let world = World::signed_in(MINUTE * 60);
    let handle = world.start();
    handle.token().await.unwrap();
    handle.logout().await.unwrap();
    assert!(world.keys.stored(&world.name).is_none());
    assert!(matches!(world.cache.file(&world.name), SharedFile::Missing));
    assert!(matches!(handle.token().await.unwrap_err().kind, FaultKind::SignInNeeded { .. }));
    while world.oidc.revoked() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((world.oidc.revoked(), world.observer.forgotten()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_device_login_polls_as_slowly_as_it_is_told() {
    let world = World::new();
    world.oidc.refuse_next("AuthorizationPendingException", 400);
    world.oidc.refuse_next("SlowDownException", 400);
    world.oidc.refuse_next("InternalServerException", 500);
    let handle = world.start();
    let begun = tokio::time::Instant::now();
    let watch = wait_until(&handle, |status| {
        matches!(
            &status.activity,
            Some(SignInActivity::LoggingIn(LoginProgress::Waiting { page: LoginPage::Opened, .. }))
        )
    });
    let order = order(LoginBy::Person, LoginFlow::DeviceCode);
    let (outcome, shown) = tokio::join!(handle.login(order), watch);
    outcome.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(5 + 5 + 10 + 10));
    assert_eq!(world.oidc.polls(), 4);
    let url = "https://device.invalid/".to_owned();
    let waiting =
        LoginProgress::Waiting { url, user_code: Some("ABCD-EFGH".to_owned()), page: LoginPage::Opened };
    assert_eq!(shown.activity, Some(SignInActivity::LoggingIn(waiting)));
    assert_eq!(world.browser.opened(), ["https://device.invalid/?user_code=ABCD-EFGH"]);
}

#[tokio::test(start_paused = true)]
async fn a_login_ends_for_everybody_who_waits() {
    let world = World::new();
    let handle = world.start();
    let cancel = async {
        world.browser.wait_for_opened(1).await;
        handle.cancel_login().await;
    };
    let (first, second, ()) = tokio::join!(handle.login(person()), handle.login(person()), cancel);
    assert_eq!((first, second), (Err(LoginFailure::Cancelled), Err(LoginFailure::Cancelled)));
    let begun = tokio::time::Instant::now();
    assert_eq!(handle.login(person()).await, Err(LoginFailure::TimedOut));
    assert_eq!(begun.elapsed(), MINUTE * 10);
    world.browser.finish(Some(Err(LoginFailure::Declined)));
    assert_eq!(handle.login(person()).await, Err(LoginFailure::Declined));
    assert_eq!(world.oidc.registered(), 2, "once, and once more after a page that led nowhere");
}

#[tokio::test(start_paused = true)]
async fn a_login_is_given_up_when_the_last_one_who_waits_leaves() {
    let world = World::new();
    let handle = world.start();
    let (mut first, mut second) = (Box::pin(handle.login(person())), Box::pin(handle.login(person())));
    tokio::select! {
        _ = &mut first => panic!("nobody signed in"),
        _ = &mut second => panic!("nobody signed in"),
        () = world.browser.wait_for_opened(1) => {}
    }
    drop(first);
    // Answered after the actor knows that the first one left.
    handle.refresh().await.unwrap_err();
    assert!(matches!(handle.watch().borrow().activity, Some(SignInActivity::LoggingIn(_))));
    drop(second);
    wait_until(&handle, |status| status.activity.is_none()).await;
    world.browser.finish(Some(Ok(())));
    handle.login(person()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_aws_forgot_is_registered_again() {
    let world = World::new();
    let handle = world.start();
    world.browser.finish(Some(Ok(())));
    handle.login(person()).await.unwrap();
    world.oidc.refuse_next("InvalidClientException", 401);
    handle.login(person()).await.unwrap();
    assert_eq!((world.oidc.registered(), world.browser.opened().len()), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_site_costs_token_and_client() {
    let world = World::new();
    let handle = world.start();
    world.browser.finish(Some(Ok(())));
    handle.login(person()).await.unwrap();
    handle.end().await;
    let again = world.start();
    again.token().await.unwrap();
    again.login(person()).await.unwrap();
    assert_eq!(world.oidc.registered(), 1, "nothing was edited");
    again.end().await;
    let edits: [fn(&mut SignInSite); 3] = [
        |site| site.region = "eu-west-2".parse().unwrap(),
        |site| site.start_url = "https://other.awsapps.com/start".to_owned(),
        |site| site.scopes = vec!["sso:account:access".to_owned()],
    ];
    let mut site = world.site();
    for (edit, registered) in edits.into_iter().zip(2..) {
        edit(&mut site);
        let edited = world.start_at(site.clone());
        let fault = edited.token().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() }, "{site:?}");
        edited.login(person()).await.unwrap();
        assert_eq!(world.oidc.registered(), registered, "{site:?}");
        edited.token().await.unwrap();
        edited.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_is_shown_while_its_page_opens() {
    let world = World::new();
    let handle = world.start();
    world.browser.get_stuck(true);
    let shown = wait_until(&handle, |status| {
        matches!(
            &status.activity,
            Some(SignInActivity::LoggingIn(LoginProgress::Waiting { page: LoginPage::Opening, .. }))
        )
    });
    let person = async {
        shown.await;
        world.browser.finish(Some(Ok(())));
    };
    let (outcome, ()) = tokio::join!(handle.login(self::person()), person);
    outcome.unwrap();
    world.browser.get_stuck(false);
}

#[tokio::test(start_paused = true)]
async fn whoever_changes_the_way_takes_all_along() {
    let world = World::new();
    let handle = world.start();
    let other = async {
        world.browser.wait_for_opened(1).await;
        handle.login(order(LoginBy::Person, LoginFlow::DeviceCode)).await
    };
    let (first, second) = tokio::join!(handle.login(person()), other);
    assert_eq!((first, second), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_is_not_through_is_told_and_mends_itself() {
    let world = World::signed_in(MINUTE * 60);
    let handle = world.start();
    handle.token().await.unwrap();
    let locked = Fault::internal("the key store is locked");
    world.keys.lock(Some(locked.clone()));
    assert_eq!(handle.logout().await, Err(locked));
    assert!(matches!(handle.token().await.unwrap_err().kind, FaultKind::SignInNeeded { .. }));
    assert!(world.keys.stored(&world.name).is_some());
    world.keys.lock(None);
    wait_until(&handle, |status| status.trouble.is_none()).await;
    assert!(world.keys.stored(&world.name).is_none());
    handle.logout().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_a_failure_that_passes() {
    let world = World::signed_in(Duration::ZERO);
    world.oidc.panic_next();
    let handle = world.start();
    assert_eq!(handle.token().await.unwrap_err().kind, FaultKind::Internal);
    wait_for_label(&handle, "Authenticated").await;
}

#[tokio::test(start_paused = true)]
async fn a_locked_key_store_is_told_and_mends_itself() {
    let world = World::signed_in(MINUTE * 60);
    world.keys.lock(Some(Fault::internal("the key store is locked")));
    let handle = world.start();
    let status = wait_for_label(&handle, "Authenticated").await;
    assert!(status.trouble.is_some(), "the file alone tells of the login");
    world.keys.lock(None);
    wait_until(&handle, |status| status.trouble.is_none()).await;
    assert_eq!(world.keys.access(&world.name).as_deref(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn a_dark_waking_waits_for_a_person_and_settings_are_live() {
    let world = World::signed_in(MINUTE * 60);
    let handle = world.start();
    handle.token().await.unwrap();
    handle.disturbed(Incident::Woke { slept: MINUTE, dark: true }).await;
    wait_for_label(&handle, "Expired").await;
    assert_eq!(world.oidc.refreshed(), 0);
    handle.disturbed(Incident::Woke { slept: Duration::ZERO, dark: false }).await;
    wait_for_label(&handle, "Authenticated").await;
    world.policy.send_replace(SignInPolicy { auto_refresh: false, ..SignInPolicy::default() });
    wait_for_label(&handle, "Expired").await;
    assert_eq!(world.oidc.refreshed(), 1);
    handle.refresh().await.unwrap();
    assert_eq!(world.oidc.refreshed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_keeps_what_aws_answers() {
    let world = World::signed_in(Duration::ZERO);
    world.oidc.hold(true);
    let handle = world.start();
    let renewing = wait_until(&handle, |status| status.activity == Some(SignInActivity::Renewing));
    let (token, stopped) = tokio::join!(handle.token(), async {
        renewing.await;
        let stop = world.tasks.shutdown(BOUND);
        let answer = async { world.oidc.hold(false) };
        tokio::join!(stop, answer).0
    });
    assert_eq!(token.unwrap_err().kind, FaultKind::ShuttingDown);
    assert_eq!(stopped, Ok(()));
    assert_eq!(world.keys.access(&world.name).as_deref(), Some("token 1"));
    assert_eq!(world.cache.access(&world.name).as_deref(), Some("token 1"));
    assert_eq!(handle.login(person()).await, Err(LoginFailure::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_kept_when_nobody_waits_for_it() {
    for ends in [false, true] {
        let world = World::signed_in(Duration::ZERO);
        world.oidc.hold(true);
        let handle = world.start();
        wait_until(&handle, |status| status.activity == Some(SignInActivity::Renewing)).await;
        let mut status = handle.watch();
        if ends {
            let answer = async { world.oidc.hold(false) };
            tokio::join!(handle.end(), answer);
            assert!(status.has_changed().is_err(), "it is over when that returns");
        } else {
            drop(handle);
            world.oidc.hold(false);
            while status.changed().await.is_ok() {}
        }
        assert_eq!(world.keys.access(&world.name).as_deref(), Some("token 1"), "{ends}");
        assert_eq!(world.cache.access(&world.name).as_deref(), Some("token 1"), "{ends}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_without_a_handle_keeps_what_aws_answers() {
    let world = World::signed_in(Duration::ZERO);
    world.oidc.hold(true);
    let handle = world.start();
    wait_until(&handle, |status| status.activity == Some(SignInActivity::Renewing)).await;
    let stop = async {
        drop(handle);
        world.tasks.shutdown(BOUND).await
    };
    let (stopped, ()) = tokio::join!(stop, async { world.oidc.hold(false) });
    assert_eq!(stopped, Ok(()));
    assert_eq!(world.keys.access(&world.name).as_deref(), Some("token 1"));
}
