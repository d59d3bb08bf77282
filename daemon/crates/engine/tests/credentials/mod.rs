//! Credentials of roles: fetched once for all, renewed early, forgotten with their sign-in.

use stormtunnel_engine::sign_in::credentials::{CredentialBroker, EARLY, Role, RoleCredentials};
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
async fn credentials_are_renewed_early_and_kept_while_that_fails() {
    let desk = Desk::new(World::signed_in(HOUR * 8));
    assert_eq!(desk.key("Admin").await, "ASIA1");
    desk.pass(HOUR - EARLY - MINUTE).await;
    assert_eq!(desk.key("Admin").await, "ASIA1");
    desk.pass(MINUTE).await;
    desk.portal.fail_next(network());
    assert_eq!(desk.key("Admin").await, "ASIA1", "they live on");
    assert_eq!(desk.key("Admin").await, "ASIA3");
    desk.pass(HOUR * 2).await;
    desk.portal.fail_next(network());
    assert_eq!(desk.ask("Admin").await.unwrap_err().kind, FaultKind::Network, "these do not");
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
        while desk.portal.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        desk.broker.forget(&desk.world.name);
        desk.portal.hold(false);
    };
    let (late, ()) = tokio::join!(desk.ask("Admin"), forget);
    assert_eq!(late.unwrap().access_key_id, "ASIA1");
    assert_eq!(desk.key("Admin").await, "ASIA2", "what was on its way was not kept");
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
