//! The queue under a virtual clock.

use std::time::Duration;

use stormtunnel_model::{
    Attempt, Event, EventId, EventKind, EventSubject, Fault, FaultKind, Intent, LoginProgress, LoginReason,
    Renewal, RenewalRule, SignIn, SignInActivity, SignInEvent, SignInProfile, SignInState, SignInStatus,
    Timestamp, Tunnel, TunnelState, TunnelStatus,
};

use super::queue::{NotificationQueue, Present};
use super::{Notification, NotificationKind};
use crate::clock::Now;
use crate::testing::{spec, stored};
use crate::tunnel::chronicle::subject;

const MINUTE: Duration = Duration::from_secs(60);

/// A queue, the present, and the time.
struct Bench {
    queue: NotificationQueue,
    present: Present,
    now: Now,
}

fn needed(sign_in: &str) -> Fault {
    Fault::new(FaultKind::SignInNeeded { sign_in: sign_in.to_owned() }, "")
}

fn denied() -> Fault {
    let kind = FaultKind::PermissionDenied {
        principal: String::new(),
        action: "ssm:StartSession".to_owned(),
        resource: String::new(),
    };
    Fault::new(kind, "explicit\ndeny")
}

impl Bench {
    /// Tunnels `t0`, `t1` and so on that are up on profile `corp-0`, which uses the sign-in `corp`.
    fn new(tunnels: usize) -> Self {
        let now = Now {
            mono: tokio::time::Instant::now().into_std(),
            wall: Timestamp::from_millis(1_700_000_000_000),
        };
        let profile = SignInProfile { profile: "corp-0".parse().unwrap(), account: None, role: None };
        let corp = SignIn {
            name: "corp".parse().unwrap(),
            start_url: "https://x.awsapps.com/start".to_owned(),
            region: "eu-west-1".parse().unwrap(),
            profiles: vec![profile],
            status: SignInStatus::unknown(),
        };
        let present = Present {
            tunnels: (0..tunnels).map(|number| up(&format!("t{number}"))).collect(),
            sign_ins: vec![corp],
            default_profile: "default".to_owned(),
        };
        Self { queue: NotificationQueue::default(), present, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn happens(&mut self, tunnel: Option<usize>, kind: EventKind) {
        let subject = tunnel.map(|tunnel| self.subject(tunnel));
        let event = Event { id: EventId(1), at: self.now.wall, subject, kind };
        self.queue.hear(&event, self.now.mono);
    }

    fn subject(&self, tunnel: usize) -> EventSubject {
        let tunnel = &self.present.tunnels[tunnel];
        subject(tunnel.id, &tunnel.spec)
    }

    fn block(&mut self, tunnel: usize, fault: &Fault) {
        self.present.tunnels[tunnel].status.state = TunnelState::Blocked { fault: fault.clone() };
        self.happens(Some(tunnel), EventKind::Blocked { fault: fault.clone() });
    }

    fn recover(&mut self, tunnel: usize) {
        self.present.tunnels[tunnel].status.state = TunnelState::Up;
        self.happens(Some(tunnel), EventKind::Up { attempt: Attempt(1) });
    }

    /// The login is lost; the token is good until then.
    fn lose(&mut self, before: Option<Timestamp>) {
        if before.is_none() {
            let reason = LoginReason::SessionEnded;
            self.present.sign_ins[0].status.state = SignInState::NeedsLogin { reason };
        }
        self.sign_in(SignInEvent::LoginNeeded { reason: "it is over".to_owned(), before });
    }

    fn log_in(&mut self) {
        let expires_at = self.now.wall.plus(MINUTE * 480);
        let renewal = Renewal::At { at: expires_at, rule: RenewalRule::Threshold };
        self.present.sign_ins[0].status.state = SignInState::Authenticated { expires_at, renewal };
        self.sign_in(SignInEvent::SignedIn { elsewhere: false });
    }

    fn sign_in(&mut self, event: SignInEvent) {
        self.happens(None, EventKind::SignIn { sign_in: "corp".parse().unwrap(), event });
    }

    /// Goes on for that long, and answers what is shown meanwhile, each with the time that had passed.
    fn shown_in(&mut self, time: Duration) -> Vec<(Duration, Notification)> {
        let (begun, end) = (self.now.mono, self.now.mono + time);
        let mut shown = Vec::new();
        while let Some(due) = self.queue.due().filter(|due| *due <= end) {
            self.pass(due.saturating_duration_since(self.now.mono));
            while let Some(notification) = self.queue.next(&self.present, self.now) {
                shown.push((self.now.mono - begun, notification));
            }
        }
        self.pass(end - self.now.mono);
        shown
    }

    fn titles_in(&mut self, time: Duration) -> Vec<String> {
        self.shown_in(time).into_iter().map(|(_, notification)| notification.title).collect()
    }
}

fn up(name: &str) -> Tunnel {
    let stored = stored(spec(name));
    Tunnel {
        id: stored.id,
        etag: stored.etag,
        created_at: stored.created_at,
        spec: stormtunnel_model::TunnelSpec { profile: Some("corp-0".parse().unwrap()), ..stored.spec },
        intent: Intent::Run,
        terms: stored.terms,
        status: TunnelStatus { state: TunnelState::Up, ..TunnelStatus::stopped(Timestamp::default()) },
    }
}

#[test]
fn a_hundred_tunnels_on_one_sign_in_are_one_notification() {
    let mut bench = Bench::new(100);
    bench.lose(None);
    for tunnel in 0..100 {
        bench.block(tunnel, &needed("corp"));
        bench.pass(Duration::from_millis(30));
    }
    let shown = bench.shown_in(MINUTE * 60);
    let [(_, notification)] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(notification.kind, NotificationKind::SignInNeeded);
    assert_eq!(notification.title, "SSO login to corp needed");
    assert_eq!(
        notification.body,
        "100 tunnels wait for a login to corp (the session at the AWS access portal is over): stctl sso login corp"
    );
}

#[test]
fn a_sign_in_is_told_of_again_only_after_somebody_signed_in() {
    let mut bench = Bench::new(2);
    bench.lose(None);
    assert_eq!(bench.titles_in(MINUTE).len(), 1);
    bench.pass(MINUTE * 60);
    bench.block(0, &needed("corp"));
    assert_eq!(bench.titles_in(MINUTE * 60), [""; 0], "the person knows");
    bench.log_in();
    bench.recover(0);
    bench.pass(MINUTE * 60);
    bench.lose(None);
    assert_eq!(bench.titles_in(MINUTE), ["SSO login to corp needed"]);
}

#[test]
fn nobody_hears_of_a_sign_in_that_no_running_tunnel_needs() {
    let mut bench = Bench::new(1);
    bench.present.tunnels[0].intent = Intent::Stop;
    bench.lose(None);
    assert_eq!(bench.titles_in(MINUTE), [""; 0]);
    bench.present.tunnels[0].intent = Intent::Run;
    bench.block(0, &needed("corp"));
    let shown = bench.shown_in(MINUTE);
    assert!(shown[0].1.body.starts_with("1 tunnel waits for a login"), "{shown:?}");
}

#[test]
fn a_tunnel_without_a_profile_uses_the_default_one() {
    let mut bench = Bench::new(1);
    bench.present.tunnels[0].spec.profile = None;
    bench.lose(None);
    assert_eq!(bench.titles_in(MINUTE), [""; 0]);
    bench.present.default_profile = "corp-0".to_owned();
    bench.lose(None);
    assert_eq!(bench.titles_in(MINUTE).len(), 1);
}

#[test]
fn a_person_who_logs_in_is_left_alone() {
    let mut bench = Bench::new(1);
    bench.lose(None);
    bench.block(0, &needed("corp"));
    bench.present.sign_ins[0].status.activity = Some(SignInActivity::LoggingIn(LoginProgress::Finishing));
    assert_eq!(bench.titles_in(MINUTE * 3), [""; 0]);
    bench.present.sign_ins[0].status.activity = None;
    assert_eq!(bench.titles_in(MINUTE), ["SSO login to corp needed"], "the login was given up");
}

#[test]
fn a_token_that_ends_soon_is_told_of_and_again_when_it_has_ended() {
    let mut bench = Bench::new(3);
    bench.lose(Some(bench.now.wall.plus(MINUTE * 15)));
    let shown = bench.shown_in(MINUTE * 14);
    let [(_, soon)] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(
        (soon.kind, soon.title.as_str()),
        (NotificationKind::SignInExpiring, "SSO login to corp ends in 15 minutes")
    );
    assert_eq!(soon.body, "It cannot be renewed by itself, and 3 tunnels need it: stctl sso login corp");
    bench.present.sign_ins[0].status.state = SignInState::NeedsLogin { reason: LoginReason::SessionEnded };
    let shown = bench.shown_in(MINUTE * 60);
    let [(after, ended)] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(ended.kind, NotificationKind::SignInNeeded);
    assert!(*after >= MINUTE && *after < MINUTE * 2, "{after:?}");
}

#[test]
fn a_login_in_time_is_the_end_of_it() {
    let mut bench = Bench::new(3);
    bench.lose(Some(bench.now.wall.plus(MINUTE * 15)));
    assert_eq!(bench.titles_in(MINUTE).len(), 1);
    bench.log_in();
    assert_eq!(bench.titles_in(MINUTE * 60), [""; 0]);
}

#[test]
fn a_blocked_tunnel_is_named_with_its_fault_and_remedy() {
    let mut bench = Bench::new(1);
    bench.block(0, &denied());
    let shown = bench.shown_in(MINUTE);
    let [(_, notification)] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(notification.title, "Tunnel t0 is blocked");
    assert_eq!(
        notification.body,
        "AWS does not allow the caller to do ssm:StartSession: explicit deny. Fix: ask the administrator of the AWS \
         account to allow this action, then `stctl restart t0`"
    );
}

#[test]
fn tunnels_that_are_blocked_together_are_told_of_together() {
    let mut bench = Bench::new(5);
    (0..5).for_each(|tunnel| bench.block(tunnel, &denied()));
    let shown = bench.shown_in(MINUTE);
    let [(_, notification)] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(notification.title, "5 tunnels are blocked");
    assert_eq!(
        notification.body,
        "t0: AWS does not allow the caller to do ssm:StartSession. Also t1, t2 and 2 more: stctl ls"
    );
}

#[test]
fn what_mends_itself_is_not_told() {
    let mut bench = Bench::new(2);
    bench.block(0, &denied());
    bench.block(1, &needed("corp"));
    bench.pass(Duration::from_secs(1));
    bench.recover(0);
    bench.recover(1);
    assert_eq!(bench.titles_in(MINUTE), [""; 0]);
}

#[test]
fn a_tunnel_that_comes_and_goes_is_told_of_once_in_ten_minutes() {
    let mut bench = Bench::new(1);
    let mut shown = Vec::new();
    for _ in 0..90 {
        bench.block(0, &denied());
        shown.extend(bench.titles_in(Duration::from_secs(10)));
        bench.recover(0);
        shown.extend(bench.titles_in(Duration::from_secs(10)));
    }
    assert_eq!(shown.len(), 3, "in half an hour: {shown:?}");
}

#[test]
fn five_are_shown_in_a_minute_and_the_others_together() {
    let mut bench = Bench::new(20);
    let mut shown = Vec::new();
    for tunnel in 0..20 {
        bench.block(tunnel, &denied());
        shown.extend(bench.titles_in(Duration::from_secs(3)));
    }
    assert_eq!(shown.len(), 5, "{shown:?}");
    assert_eq!(bench.titles_in(MINUTE), ["15 tunnels are blocked"]);
}

#[test]
fn a_tunnel_that_is_removed_leaves_nothing_behind() {
    let mut bench = Bench::new(1);
    bench.block(0, &denied());
    bench.happens(Some(0), EventKind::Deleted);
    assert_eq!((bench.queue.due(), bench.titles_in(MINUTE)), (None, Vec::new()));
}

#[test]
fn long_words_of_others_are_cut() {
    let mut bench = Bench::new(1);
    let fault = Fault::new(FaultKind::CredentialsInvalid { profile: String::new() }, "é".repeat(9000));
    bench.block(0, &fault);
    let shown = bench.shown_in(MINUTE);
    assert!(shown[0].1.body.len() < 400, "{shown:?}");
}
