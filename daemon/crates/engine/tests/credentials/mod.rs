//! Credentials of roles: fetched once for all, renewed early, forgotten with their sign-in.

use stormtunnel_engine::sign_in::credentials::{CredentialBroker, EARLY, LATE, PAUSE, Role, RoleCredentials};
use stormtunnel_engine::testing::MemoryPortal;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

struct Desk {
    world: World,
    sign_in: SignInHandle,
    portal: Arc<MemoryPortal>,
    broker: CredentialBroker,
}

impl Desk {
    fn new(world: World) -> Self {
        let sign_in = world.start();
        let portal = Arc::new(MemoryPortal::new(world.clock.wall().plus(HOUR)));
        let broker = CredentialBroker::new(Arc::clone(&portal) as _, Arc::clone(&world.clock) as _);
        Self { world, sign_in, portal, broker }
    }

    async fn ask(&self, role: &str) -> Result<Arc<RoleCredentials>, Fault> {
        self.broker.credentials(&self.sign_in, &self::role(role)).await
    }

    async fn key(&self, role: &str) -> String {
        self.ask(role).await.unwrap().access_key_id.clone()
    }

    /// Waits until the portal was asked so often.
    async fn asked(&self, times: usize) {
        while self.portal.asked().len() < times {
            tokio::task::yield_now().await;
        }
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
        self.portal.set_expiry(self.world.clock.wall().plus(HOUR));
    }
}

fn role(name: &str) -> Role {
    Role { account: "111111111111".to_owned(), name: name.to_owned() }
}

fn network() -> SsoError {
    SsoError::Local(Fault::new(FaultKind::Network, "dns error"))
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_share_one_request_per_role() {
    let desk = Desk::new(World::signed_in(Duration::ZERO));
    let roles = ["Admin", "Reader"];
    let asked = (0..100).map(|number| desk.key(roles[number % 2]));
    let keys = futures_util::future::join_all(asked).await;
    assert!(keys.iter().zip(0..).all(|(key, number)| *key == keys[number % 2]), "{keys:?}");
    assert_ne!(keys[0], keys[1]);
    assert_eq!((desk.portal.asked().len(), desk.world.oidc.refreshed()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_share_one_failure() {
    let desk = Desk::new(World::signed_in(HOUR));
    desk.portal.fail_next(network());
    let outcomes = futures_util::future::join_all((0..20).map(|_| desk.ask("Admin"))).await;
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
    assert_eq!(desk.portal.asked().len(), 1);
    desk.ask("Admin").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn credentials_are_renewed_early_while_the_old_ones_are_handed_out() {
    let desk = Desk::new(World::signed_in(HOUR * 8));
    assert_eq!(desk.key("Admin").await, "ASIA1");
    desk.pass(HOUR - EARLY - MINUTE).await;
    assert_eq!((desk.key("Admin").await.as_str(), desk.portal.asked().len()), ("ASIA1", 1));
    desk.pass(MINUTE).await;
    desk.portal.hold(true);
    let meanwhile = tokio::time::timeout(PATIENCE, desk.key("Admin")).await;
    assert_eq!(meanwhile.as_deref(), Ok("ASIA1"), "nobody waits");
    desk.asked(2).await;
    desk.portal.hold(false);
    while desk.key("Admin").await != "ASIA2" {
        tokio::task::yield_now().await;
    }
    assert_eq!(desk.portal.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn credentials_are_kept_while_there_are_no_others_and_asked_for_with_pauses() {
    let desk = Desk::new(World::signed_in(HOUR * 8));
    assert_eq!(desk.key("Admin").await, "ASIA1");
    desk.pass(HOUR - LATE).await;
    desk.portal.fail_next(network());
    for _ in 0..20 {
        assert_eq!(desk.key("Admin").await, "ASIA1", "they live on");
    }
    assert_eq!(desk.portal.asked().len(), 2, "and nobody is asked all the time");
    desk.pass(PAUSE).await;
    assert_eq!(desk.key("Admin").await, "ASIA3", "so late, whoever asks waits");
    desk.pass(HOUR * 2).await;
    desk.portal.fail_next(network());
    assert_eq!(desk.ask("Admin").await.unwrap_err().kind, FaultKind::Network, "these do not");
    assert_eq!(desk.key("Admin").await, "ASIA5");
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_on_when_who_asked_has_gone() {
    let desk = Desk::new(World::signed_in(HOUR));
    desk.portal.hold(true);
    tokio::select! {
        biased;
        _ = desk.ask("Admin") => panic!("it is not answered"),
        () = desk.asked(1) => {}
    }
    desk.portal.hold(false);
    assert_eq!(desk.key("Admin").await, "ASIA1", "it is not asked again");
    assert_eq!(desk.portal.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_over_when_they_come_are_none() {
    let desk = Desk::new(World::signed_in(HOUR));
    desk.portal.set_expiry(desk.world.clock.wall());
    let fault = desk.ask("Admin").await.unwrap_err();
    assert!(fault.detail.contains("clock"), "{fault}");
    desk.pass(Duration::ZERO).await;
    assert_eq!(desk.key("Admin").await, "ASIA2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_portal_does_not_accept_is_renewed_once() {
    let desk = Desk::new(World::signed_in(HOUR));
    desk.portal.refuse_next("UnauthorizedException", 401);
    assert_eq!(desk.key("Admin").await, "ASIA2");
    assert_eq!(desk.world.oidc.refreshed(), 1);
    let desk = Desk::new(World::signed_in(HOUR));
    (0..2).for_each(|_| desk.portal.refuse_next("UnauthorizedException", 401));
    let fault = desk.ask("Admin").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
    assert_eq!((desk.portal.asked().len(), desk.world.oidc.refreshed()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_not_assigned_is_no_reason_to_sign_in_and_leaves_others_alone() {
    let desk = Desk::new(World::signed_in(HOUR));
    desk.portal.refuse_next("ForbiddenException", 403);
    let fault = desk.ask("Admin").await.unwrap_err();
    assert!(matches!(fault.kind, FaultKind::PermissionDenied { .. }), "{fault}");
    assert!(fault.detail.contains("Admin") && fault.detail.contains("111111111111"), "{fault}");
    desk.ask("Reader").await.unwrap();
    assert_eq!(desk.world.oidc.refreshed(), 0);
    println!(
        "promise sso.cycles: 1 login, 2 roles, 2 credential cycles; the refused one leaves the other and the login alone"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_not_signed_in_is_told_so_without_a_request() {
    let desk = Desk::new(World::new());
    let fault = desk.ask("Admin").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
    assert_eq!(desk.portal.asked(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_does_not_come_back() {
    let desk = Desk::new(World::signed_in(HOUR));
    desk.portal.hold(true);
    let forget = async {
        desk.asked(1).await;
        desk.broker.forget(&desk.world.name);
        desk.portal.hold(false);
    };
    let (late, ()) = tokio::join!(desk.ask("Admin"), forget);
    assert_eq!(late.unwrap().access_key_id, "ASIA2", "nor to whoever waits for it");
    assert_eq!(desk.key("Admin").await, "ASIA2", "what was on its way was not kept");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_during_a_logout_gets_nothing_of_the_token() {
    let desk = Desk::new(World::signed_in(HOUR));
    desk.portal.hold(true);
    let logout = async {
        desk.asked(1).await;
        desk.sign_in.logout().await.unwrap();
        desk.broker.forget(&desk.world.name);
        desk.portal.hold(false);
    };
    let (late, ()) = tokio::join!(desk.ask("Admin"), logout);
    assert_eq!(late.unwrap_err().kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
}

#[tokio::test(start_paused = true)]
async fn credentials_that_aws_does_not_accept_are_replaced_once() {
    let desk = Desk::new(World::signed_in(HOUR));
    let first = desk.ask("Admin").await.unwrap();
    for _ in 0..20 {
        desk.broker.rejected(&desk.world.name, &role("Admin"), &first);
        assert_eq!(desk.key("Admin").await, "ASIA2");
    }
}
