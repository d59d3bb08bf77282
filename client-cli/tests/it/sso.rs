//! `stctl sso`, and tunnels that need a login.

use std::io;

use stormtunnel_model::{
    CannotRenew, Fault, FaultKind, LoginEnd, LoginFlow, LoginPage, LoginProgress, LoginReason, Renewal,
    RenewalRule, SignIn, SignInProfile, SignInState, SignInStatus, Timestamp, TunnelState,
};
use stormtunnel_proto::calls::LoginUpdate;

use crate::fake::Fake;
use crate::support::{asked, now, running, stctl, stctl_with, stopped};

fn later(minutes: u64) -> Timestamp {
    Timestamp::from_millis(now().as_millis() + minutes * 60_000)
}

fn sign_in(name: &str, profiles: &[&str], state: SignInState) -> SignIn {
    let profile = |name: &&str| SignInProfile {
        profile: name.parse().unwrap(),
        account: Some("123456789012".to_owned()),
        role: Some("Admin".to_owned()),
    };
    SignIn {
        name: name.parse().unwrap(),
        start_url: format!("https://{name}.awsapps.com/start"),
        region: "eu-west-1".parse().unwrap(),
        profiles: profiles.iter().map(profile).collect(),
        status: SignInStatus { state, activity: None, trouble: None },
    }
}

fn good() -> SignInState {
    let renewal = Renewal::At { at: later(40), rule: RenewalRule::EarlyTwentyMinutes };
    SignInState::Authenticated { expires_at: later(60), renewal }
}

fn lost() -> SignInState {
    SignInState::NeedsLogin { reason: LoginReason::SessionEnded }
}

/// One in each state that a person has to tell from the others.
pub(crate) fn all() -> Vec<SignIn> {
    let plain = Renewal::Impossible(CannotRenew::NoRefreshToken);
    let soon = SignInState::ExpiringSoon { expires_at: later(10), renewal: plain };
    let retry = Renewal::At { at: later(1), rule: RenewalRule::Retry };
    let mut expired = sign_in("lab", &[], SignInState::Expired { since: now(), renewal: retry });
    expired.status.trouble = Some(Fault::new(FaultKind::Network, "dns error"));
    let on_demand = SignInState::Authenticated { expires_at: later(60), renewal: Renewal::OnDemand };
    vec![
        sign_in("corp", &["dev", "prod"], good()),
        expired,
        sign_in("legacy", &["old"], soon),
        sign_in("lost", &["x"], lost()),
        sign_in("lazy", &["y"], on_demand),
    ]
}

fn begun(flow: LoginFlow, reason: &str) -> Result<LoginUpdate, Fault> {
    Ok(LoginUpdate::Begun { sign_in: "corp".parse().unwrap(), flow, reason: reason.to_owned() })
}

fn waiting(code: Option<&str>, page: LoginPage) -> Result<LoginUpdate, Fault> {
    let (url, user_code) = ("https://device.invalid/".to_owned(), code.map(str::to_owned));
    Ok(LoginUpdate::Progress(LoginProgress::Waiting { url, user_code, page }))
}

fn signed_in() -> Result<LoginUpdate, Fault> {
    Ok(LoginUpdate::SignedIn(Box::new(sign_in("corp", &["dev", "prod"], good()))))
}

pub(crate) fn in_the_browser() -> Vec<Result<LoginUpdate, Fault>> {
    let begun = begun(LoginFlow::AuthorizationCode, "the browser can come back to this machine");
    let starting = Ok(LoginUpdate::Progress(LoginProgress::Starting));
    let finishing = Ok(LoginUpdate::Progress(LoginProgress::Finishing));
    vec![begun, starting, waiting(None, LoginPage::Opened), finishing, signed_in()]
}

pub(crate) fn with_a_code() -> Vec<Result<LoginUpdate, Fault>> {
    let reason = "you came through SSH, and a browser at your end cannot reach this machine";
    vec![begun(LoginFlow::DeviceCode, reason), waiting(Some("ABCD-EFGH"), LoginPage::NotOpened), signed_in()]
}

#[tokio::test]
async fn the_browser_of_the_environment_is_taken_where_the_person_can_see_it() {
    Fake::beside(vec![], async |fake: Fake| {
        fake.sign_in(all(), Some(in_the_browser()));
        let browser = ("BROWSER", "stormtunnel-has-no-such-program:/bin/sh -c %s");
        for (variables, line) in [
            (vec![browser, ("DISPLAY", ":0")], "sso login corp"),
            (vec![browser, ("DISPLAY", ":0")], "sso login corp --browser firefox"),
            (vec![browser, ("DISPLAY", ":0")], "sso login corp --no-browser"),
            (vec![browser, ("DISPLAY", ":0"), ("SSH_TTY", "/dev/pts/1")], "sso login corp"),
        ] {
            stctl_with(fake.socket(), &variables, line).await;
        }
        let expected = [
            "login corp - /bin/sh -c %s",
            "login corp - firefox",
            "login corp - nobody",
            "login corp - - remote",
        ];
        assert_eq!(fake.asked(), expected);
    })
    .await;
}

#[tokio::test]
async fn a_login_shows_the_way_and_the_page() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        fake.sign_in(all(), Some(in_the_browser()));
        let mut shown = stctl(fake.socket(), "sso login corp").await.shown();
        fake.sign_in(all(), Some(with_a_code()));
        let variables = [("SSH_CONNECTION", "10.0.0.1 50000 10.0.0.2 22")];
        shown += &stctl_with(fake.socket(), &variables, "sso login --use-device-code").await.shown();
        let command = stctl(fake.socket(), "sso login corp --browser firefox -o name").await;
        assert!(command.err.contains("ABCD-EFGH") && command.out == "corp\n", "{command:?}");
        shown += &command.shown();
        shown += &stctl(fake.socket(), "sso login corp --no-browser -o json").await.shown();
        insta::assert_snapshot!("sso_login", shown);
        let url = "https://x.awsapps.com/start";
        let line = format!("sso login --start-url {url} --sso-region us-east-1");
        assert_eq!(stctl(fake.socket(), &line).await.code, 0);
        assert_eq!(stctl(fake.socket(), "sso login --profile dev").await.code, 0);
        let by_variable = stctl_with(fake.socket(), &[("AWS_PROFILE", "prod")], "sso login").await;
        assert_eq!(by_variable.code, 0);
        let told = [
            "login corp - -".to_owned(),
            "login only device - remote".to_owned(),
            "login corp - firefox".to_owned(),
            "login corp - nobody".to_owned(),
            format!("login {url} in us-east-1 - -"),
            "login of dev - -".to_owned(),
            "login of prod - -".to_owned(),
        ];
        assert_eq!(fake.asked(), told);
    })
    .await;
}

#[tokio::test]
async fn a_login_that_fails_has_its_exit_code() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let mut shown = String::new();
        for (end, code) in [
            (LoginEnd::Cancelled, 130),
            (LoginEnd::TimedOut, 124),
            (LoginEnd::Declined, 4),
            (LoginEnd::DoesNotLast, 4),
        ] {
            let kind = FaultKind::LoginFailed { sign_in: "corp".to_owned(), end };
            fake.sign_in(all(), Some(vec![waiting(None, LoginPage::Opened), Err(Fault::new(kind, ""))]));
            let ran = stctl(fake.socket(), "sso login corp").await;
            assert_eq!(ran.code, code, "{ran:?}");
            shown += &ran.shown();
        }
        fake.sign_in(all(), None);
        let unknown = stctl(fake.socket(), "sso login crop").await;
        assert_eq!(unknown.code, 6, "{unknown:?}");
        shown += &unknown.shown();
        insta::assert_snapshot!("sso_login_fails", shown);
        for line in [
            "sso login corp --profile dev",
            "sso login --start-url https://x.awsapps.com/start",
            "sso login --sso-region eu-west-1",
            "sso login --no-browser --browser firefox",
            "sso logout corp --all",
            "sso status --region eu-west-1",
        ] {
            assert_eq!(stctl(fake.socket(), line).await.code, 2, "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn sign_ins_are_shown_in_every_form() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        let none = stctl(fake.socket(), "sso status").await;
        assert!(none.code == 0 && none.err.contains("no AWS profile signs in with SSO"), "{none:?}");
        fake.sign_in(all(), None);
        let mut shown = stctl(fake.socket(), "sso status").await.shown();
        shown += &stctl(fake.socket(), "sso status -o wide").await.shown();
        shown += &stctl(fake.socket(), "sso status --profile prod").await.shown();
        shown += &stctl(fake.socket(), "sso status nosuch").await.shown();
        insta::assert_snapshot!("sso_status", shown);
        let json = stctl(fake.socket(), "sso status -o json").await;
        assert_eq!(json.code, 4);
        insta::assert_snapshot!("sso_status_json", json.out);
    })
    .await;
}

#[tokio::test]
async fn a_logout_can_end_the_tunnels_that_live_on_it() {
    let on = |name: &str, profile: Option<&str>| {
        let mut tunnel = running(name, "80", "auto", TunnelState::Up);
        tunnel.spec.profile = profile.map(|profile| profile.parse().unwrap());
        tunnel
    };
    let tunnels =
        vec![on("db", Some("dev")), on("keys", Some("static")), on("usual", None), on("web", Some("prod"))];
    Fake::beside(tunnels, async |fake: Fake| {
        fake.sign_in(all(), None);
        for name in ["db", "web"] {
            fake.plot(name, vec![TunnelState::Stopped]);
        }
        let ran = stctl(fake.socket(), "sso logout corp --stop-tunnels").await;
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (0, "db is stopped\nweb is stopped\ncorp: signed out\n"),
            "{ran:?}"
        );
        // The list comes in two pages.
        assert_eq!(fake.asked(), ["list ", "list keys", "watch ", "stop db web"]);
    })
    .await;
}

#[tokio::test]
async fn a_token_is_renewed_and_forgotten_on_demand() {
    Fake::beside(Vec::new(), async |fake: Fake| {
        fake.sign_in(all(), None);
        let mut shown = stctl(fake.socket(), "sso refresh corp").await.shown();
        shown += &stctl(fake.socket(), "sso refresh lost").await.shown();
        shown += &stctl(fake.socket(), "sso logout corp").await.shown();
        shown += &stctl(fake.socket(), "sso logout --all").await.shown();
        shown += &stctl(fake.socket(), "sso logout --all -o json").await.shown();
        insta::assert_snapshot!("sso_refresh_logout", shown);
        let json = stctl(fake.socket(), "sso refresh corp -o json").await.json();
        assert_eq!(json["renewal"]["rule"], "early_twenty_minutes");
    })
    .await;
}

fn nobody_is_asked() -> io::Result<String> {
    panic!("a login is no question")
}

fn blocked() -> TunnelState {
    TunnelState::Blocked { fault: Fault::new(FaultKind::SignInNeeded { sign_in: "corp".to_owned() }, "") }
}

#[tokio::test]
async fn tunnels_that_need_a_login_go_on_after_one() {
    let tunnels = vec![stopped("cache", "6379", "16379"), stopped("db", "5432", "15432")];
    Fake::beside(tunnels, async |fake: Fake| {
        fake.sign_in(all(), Some(in_the_browser()));
        for name in ["cache", "db"] {
            fake.plot(name, vec![blocked()]);
        }
        fake.plot_after("cache", vec![TunnelState::Up]);
        fake.plot_after("db", vec![TunnelState::Up]);
        let ran = asked(fake.socket(), "up cache db", nobody_is_asked).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        insta::assert_snapshot!("up_with_a_login", ran.shown());
        let logins = fake.asked().into_iter().filter(|what| what.starts_with("login"));
        assert_eq!(logins.collect::<Vec<_>>(), ["login corp - - if needed"], "one for both");
    })
    .await;
}

#[tokio::test]
async fn nobody_signs_in_where_nobody_is_there_or_it_is_not_wanted() {
    Fake::beside(vec![stopped("db", "5432", "15432")], async |fake: Fake| {
        fake.sign_in(all(), Some(in_the_browser()));
        fake.plot("db", vec![blocked()]);
        let alone = stctl(fake.socket(), "up db").await;
        assert_eq!(alone.code, 4, "{alone:?}");
        fake.plot("db", vec![blocked()]);
        assert_eq!(asked(fake.socket(), "up db --no-login", nobody_is_asked).await.code, 4);
        fake.plot("db", vec![blocked()]);
        assert_eq!(asked(fake.socket(), "up db -o json", nobody_is_asked).await.code, 4);
        assert!(!fake.asked().iter().any(|what| what.starts_with("login")), "{:?}", fake.asked());

        fake.plot("db", vec![blocked()]);
        fake.sign_in(Vec::new(), None);
        let unknown = asked(fake.socket(), "up db", nobody_is_asked).await;
        assert_eq!(
            (unknown.code, unknown.err),
            (4, alone.err),
            "a daemon that cannot sign in changes nothing"
        );
        let declined = FaultKind::LoginFailed { sign_in: "corp".to_owned(), end: LoginEnd::Declined };
        fake.sign_in(all(), Some(vec![Err(Fault::new(declined, ""))]));
        fake.plot("db", vec![blocked()]);
        let declined = asked(fake.socket(), "up db", nobody_is_asked).await;
        assert_eq!(declined.code, 4, "{declined:?}");
        assert!(declined.err.contains("was declined") && declined.err.contains("db: "), "{declined:?}");
    })
    .await;
}
