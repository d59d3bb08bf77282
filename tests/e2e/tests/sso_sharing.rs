//! One login for us and for AWS's own tools, both ways.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_emulator::{Config, Counter, Lifetimes, RefreshAttempt, RefreshOutcome, SignInHabits, SignInOrder};
use serde_json::json;
use stormtunnel_e2e::scene::Scene;
use stormtunnel_e2e::sign_in::{self, PROFILES, SESSION, START_URL, Shown, TokenFile, Tool, Tools};
use stormtunnel_e2e::{DEADLINE, programs};
use stormtunnel_model::{CannotRenew, LoginReason, Renewal, SignInState, Timestamp};
use time::{PrimitiveDateTime, format_description};
use tokio::time::Instant;

/// Less than what botocore and the AWS CLI leave before they renew.
const SHORT_S: u32 = 14 * 60;
const HOUR_S: u32 = 60 * 60;
/// The AWS CLI keeps credentials of roles in a cache of its own, but none that are so short; else it would look at no token.
const ROLE_S: u32 = 14 * 60;
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
/// A field that only some other tool knows.
const FOREIGN: &str = "ofAnotherTool";

/// The emulated AWS over TLS, which AWS CLI 2 insists on, the daemon, and what it shows; `None` without `curl`.
async fn start() -> Result<Option<(Scene, Shown)>> {
    if programs::find("curl")?.is_none() {
        return Ok(None);
    }
    // AWS CLI 2 asks twice at once, which a strict service would slow down.
    let sign_in = SignInHabits {
        agrees_after_polls: Some(1),
        interval_s: 1,
        slow_down: false,
        ..SignInHabits::default()
    };
    let lifetimes = Lifetimes { role_credentials_s: ROLE_S, ..Lifetimes::default() };
    let scene = Scene::start(Config { tls: true, sign_in, lifetimes, ..Config::default() }).await?;
    sign_in::write_profiles(&scene)?;
    let shown = Shown::start(&scene).await?;
    Ok(Some((scene, shown)))
}

#[tokio::test]
async fn tools_use_what_we_wrote() -> Result<()> {
    let Some(tools) = Tools::find()? else { return Ok(()) };
    let Some((scene, _shown)) = start().await? else { return Ok(()) };
    for (_, sign_in, _) in PROFILES {
        sign_in::log_in(&scene, sign_in).await?;
    }
    let us = scene.emulator().portals()[0].principal("123456789012", "Developer");
    // What the daemon itself fetches, to see whether the profiles are any good, it has fetched then.
    for (profile, _, _) in PROFILES {
        scene.ok(&["whoami", "--profile", profile]).await?;
    }
    let counters = scene.emulator().counters();
    let of_daemon = counters.value(Counter::PortalGetRoleCredentials);
    for (profile, _, _) in PROFILES {
        for tool in Tool::ALL {
            let said = tools.who_am_i(&scene, tool, profile).await?.success();
            let said = said.with_context(|| format!("{tool:?} with profile {profile}"))?;
            assert_eq!(said.trim(), us, "{tool:?} with profile {profile}");
        }
    }
    // It was our token that they used: nobody signed in but us, and nobody renewed.
    let used = counters.value(Counter::PortalGetRoleCredentials) - of_daemon;
    assert_eq!(used, (PROFILES.len() * Tool::ALL.len()) as u64);
    assert_eq!(counters.value(Counter::Logins), PROFILES.len() as u64);
    assert_eq!(counters.value(Counter::OidcRefreshToken), 0);
    println!(
        "promise sso.sharing-use: {} used our logins of an sso-session and of /start, /start/ and /start/#, {used} times",
        tools.versions(&scene).await?
    );
    Ok(())
}

#[tokio::test]
async fn we_adopt_what_tools_renew() -> Result<()> {
    let Some(tools) = Tools::find()? else { return Ok(()) };
    let Some((scene, mut shown)) = start().await? else { return Ok(()) };
    sign_in::log_in(&scene, SESSION).await?;
    let mut long = end_of(&shown.until_good(SESSION).await?)?;
    for tool in Tool::ALL {
        // Ours is so short that they renew it.
        tokens_last(&scene, SHORT_S);
        renew(&scene).await?;
        let short = end_of(&shown.until(SESSION, is_earlier_than(long)).await?)?;
        let ours = TokenFile::read(&scene, SESSION)?.fingerprint()?;
        tokens_last(&scene, HOUR_S);
        tools.who_am_i(&scene, tool, "dev").await?.success().with_context(|| format!("{tool:?}"))?;
        let theirs = TokenFile::read(&scene, SESSION)?.fingerprint()?;
        assert_eq!(last_refresh(&scene)?, (ours, RefreshOutcome::Granted), "{tool:?}");

        let adopted =
            shown.until(SESSION, is_later_than(short)).await.with_context(|| format!("{tool:?}"))?;
        long = end_of(&adopted)?;
        renew(&scene).await?;
        assert_eq!(last_refresh(&scene)?, (theirs, RefreshOutcome::Granted), "after {tool:?}");
    }
    assert_never_lost(&shown);
    let counters = scene.emulator().counters();
    let renewals = counters.value(Counter::OidcRefreshToken);
    assert_eq!(
        (counters.value(Counter::Logins), counters.value(Counter::OidcRefreshesGranted)),
        (1, renewals)
    );
    println!(
        "promise sso.sharing-renew: what {} renewed we took over and renewed in turn: {renewals} renewals of one login, none refused",
        tools.versions(&scene).await?
    );
    Ok(())
}

#[tokio::test]
async fn their_login_and_logout_are_ours_and_ours_theirs() -> Result<()> {
    let Some(tools) = Tools::find()? else { return Ok(()) };
    let Some((scene, mut shown)) = start().await? else { return Ok(()) };
    let (_, slash, _) = PROFILES[2];
    let counters = scene.emulator().counters();

    // Over a login of ours, and where there was none.
    sign_in::log_in(&scene, SESSION).await?;
    let ours = end_of(&shown.until_good(SESSION).await?)?;
    tokens_last(&scene, 2 * HOUR_S);
    for profile in ["dev", "slash"] {
        tools.cli_2(&scene, profile, &["sso", "login", "--no-browser"]).await?.success()?;
    }
    let theirs = TokenFile::read(&scene, SESSION)?.fingerprint()?;
    shown.until(SESSION, is_later_than(ours)).await?;
    renew(&scene).await?;
    assert_eq!(last_refresh(&scene)?, (theirs, RefreshOutcome::Granted));
    // Profiles without an sso-session get a token that lasts as long as the login and cannot be renewed.
    let state = shown.until_good(slash).await?;
    let is_bare = |renewal| renewal == Renewal::Impossible(CannotRenew::NoRefreshToken);
    assert!(matches!(state, SignInState::Authenticated { renewal, .. } if is_bare(renewal)), "{state:?}");
    assert_eq!(counters.value(Counter::Logins), 3);

    tools.cli_2(&scene, "dev", &["sso", "logout"]).await?.success()?;
    let out = SignInState::NeedsLogin { reason: LoginReason::SignedOutElsewhere };
    for sign_in in [SESSION, slash] {
        shown.until(sign_in, |state| *state == out).await?;
        assert_eq!(scene.stctl(&["sso", "refresh", sign_in]).await?.code, 4);
        assert!(!sign_in::token_path(&scene, sign_in)?.exists(), "put back after a logout");
    }

    let revoked = counters.value(Counter::PortalLogout);
    assert_eq!(revoked, 2, "each token once, and by the tool that signed out");
    sign_in::log_in(&scene, SESSION).await?;
    tools.who_am_i(&scene, Tool::Boto3, "dev").await?.success()?;
    scene.ok(&["sso", "logout", SESSION]).await?;
    counters.wait_at_least(Counter::PortalLogout, revoked + 1, DEADLINE).await?;
    for tool in Tool::ALL {
        let said = tools.who_am_i(&scene, tool, "dev").await?;
        assert!(said.code != 0 && said.stderr.to_lowercase().contains("token"), "{tool:?}: {said:?}");
    }
    println!(
        "promise sso.sharing-login: 2 logins of AWS CLI 2 were ours within a moment, its logout signed us out of both; our \
         logout did the same to {}",
        tools.versions(&scene).await?
    );
    Ok(())
}

/// As the tools write them: whole seconds, JavaScript, Rust, Python with an offset, and AWS CLI of old.
const FORMS: [&str; 5] = [
    "[year]-[month]-[day]T[hour]:[minute]:[second]Z",
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z",
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z",
    "[year]-[month]-[day]T[hour]:[minute]:[second]+00:00",
    "[year]-[month]-[day]T[hour]:[minute]:[second]UTC",
];

#[tokio::test]
async fn times_names_and_modes_are_those_of_the_tools() -> Result<()> {
    let Some((scene, mut shown)) = start().await? else { return Ok(()) };
    for (minutes, form) in (1..).zip(FORMS) {
        // Each token has an end of its own, by which it is known.
        tokens_last(&scene, HOUR_S + 60 * minutes);
        let (end, fingerprint) = write_login(&scene, form)?;
        let is_it =
            |state: &SignInState| state.good_until().is_some_and(|until| until.as_millis() / 1000 == end);
        shown.until(SESSION, is_it).await.with_context(|| form.to_owned())?;
        renew(&scene).await?;
        assert_eq!(last_refresh(&scene)?, (fingerprint, RefreshOutcome::Granted), "{form}");
        check_file(&scene, SESSION, START_URL)?;
        assert_eq!(TokenFile::read(&scene, SESSION)?.fields()[FOREIGN], "kept", "{form}");
    }
    for (_, sign_in, _) in &PROFILES[1..] {
        sign_in::log_in(&scene, sign_in).await?;
        check_file(&scene, sign_in, sign_in)?;
    }
    let mut names = std::fs::read_dir(sign_in::cache(&scene))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    let mut expected = PROFILES.map(|(_, _, file)| file);
    expected.sort_unstable();
    assert_eq!(names, expected, "nothing else is left there");
    println!(
        "promise sso.sharing-files: {} files under the names of the tools, 0600, whole seconds and Z, no null; {} forms of time read",
        names.len(),
        FORMS.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_torn_file_loses_no_login() -> Result<()> {
    let Some(tools) = Tools::find()? else { return Ok(()) };
    let Some((scene, mut shown)) = start().await? else { return Ok(()) };
    sign_in::log_in(&scene, SESSION).await?;
    let end = end_of(&shown.until_good(SESSION).await?)?;
    let path = sign_in::token_path(&scene, SESSION)?;
    let whole = std::fs::read_to_string(&path)?;
    // Cut short, and with what was left of a longer file behind it, as writers in place leave them.
    let torn =
        [String::new(), whole[..whole.len() / 2].to_owned(), format!("{whole}\"}}"), "null".to_owned()];
    for content in &torn {
        std::fs::write(&path, content)?;
        sign_in::until(|| {
            ensure!(std::fs::read_to_string(&path)? == whole, "not repaired: {content:?}");
            Ok(())
        })
        .await?;
        tools.who_am_i(&scene, Tool::Boto3, "dev").await?.success()?;
    }
    // A token that can be told from the one before: all that was shown until then is known.
    tokens_last(&scene, SHORT_S);
    renew(&scene).await?;
    shown.until(SESSION, is_earlier_than(end)).await?;
    assert_never_lost(&shown);
    assert_eq!(scene.emulator().counters().value(Counter::Logins), 1);
    println!(
        "promise sso.sharing-torn: {} torn files were read as no logout and repaired, each usable again by botocore",
        torn.len()
    );
    Ok(())
}

fn tokens_last(scene: &Scene, access_token_s: u32) {
    let lifetimes = Lifetimes { access_token_s, role_credentials_s: ROLE_S, ..Lifetimes::default() };
    scene.emulator().inject(SignInOrder::Lifetimes { lifetimes });
}

/// Has the daemon renew its token. As long as one that it has just adopted is not kept yet, that is new enough: then it is asked
/// once more.
async fn renew(scene: &Scene) -> Result<()> {
    let (tried, start) = (scene.emulator().refreshes().len(), Instant::now());
    while scene.emulator().refreshes().len() == tried {
        ensure!(start.elapsed() < DEADLINE, "nothing is renewed");
        scene.ok(&["sso", "refresh", SESSION]).await?;
    }
    Ok(())
}

/// When the token ends.
fn end_of(state: &SignInState) -> Result<Timestamp> {
    state.good_until().context("no good token")
}

/// Whether a token is one that was issued for much less time.
fn is_earlier_than(end: Timestamp) -> impl Fn(&SignInState) -> bool {
    move |state| state.good_until().is_some_and(|until| until.plus(HALF_AN_HOUR) < end)
}

/// Whether a token is one that was issued for much longer.
fn is_later_than(end: Timestamp) -> impl Fn(&SignInState) -> bool {
    move |state| state.good_until().is_some_and(|until| until > end.plus(HALF_AN_HOUR))
}

/// From the login on there was a good token at all times.
fn assert_never_lost(shown: &Shown) {
    let mut states = shown.states(SESSION).skip_while(|state| state.good_until().is_none());
    assert!(
        states.all(|state| state.good_until().is_some()),
        "{:?}",
        shown.states(SESSION).collect::<Vec<_>>()
    );
}

/// The refresh token of the last renewal that was tried, and what became of it.
fn last_refresh(scene: &Scene) -> Result<(String, RefreshOutcome)> {
    let last = scene.emulator().refreshes().pop().context("nothing was renewed")?;
    Ok((last.token, last.outcome))
}

/// Has the user log in with a tool that writes times so, and a field of its own, and that anybody may read. Answers when the
/// token ends, in seconds since 1970, and what renews it.
fn write_login(scene: &Scene, form: &str) -> Result<(u64, String)> {
    let issued = scene.emulator().log_in(START_URL).context("no such portal")?;
    let form = format_description::parse_borrowed::<2>(form)?;
    let refresh_token = issued.refresh_token.context("it cannot be renewed")?;
    let token = json!({
        "startUrl": START_URL,
        "region": scene.emulator().region(),
        "accessToken": issued.access_token,
        "expiresAt": issued.expires.format(&form)?,
        "clientId": issued.client_id,
        "clientSecret": issued.client_secret,
        "registrationExpiresAt": issued.registration_expires.format(&form)?,
        "refreshToken": refresh_token,
        FOREIGN: "kept",
    });
    let path = sign_in::token_path(scene, SESSION)?;
    std::fs::create_dir_all(sign_in::cache(scene))?;
    std::fs::write(&path, serde_json::to_string_pretty(&token)?)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
    let end = u64::try_from(issued.expires.unix_timestamp())?;
    Ok((end, RefreshAttempt::fingerprint(&refresh_token)))
}

/// What a file of ours has to be so that every tool can read it, and only its owner.
fn check_file(scene: &Scene, sign_in: &str, start_url: &str) -> Result<()> {
    let path = sign_in::token_path(scene, sign_in)?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600, "{sign_in}");
    let file = TokenFile::read(scene, sign_in)?;
    for name in ["accessToken", "clientId", "clientSecret", "refreshToken"] {
        // Without an sso-session there is nothing to renew, and then not so much as a name of it.
        let wanted = sign_in == SESSION || name == "accessToken";
        ensure!(!wanted || !file.text(name)?.is_empty(), "{sign_in}: no {name}");
    }
    let whole_seconds = format_description::parse_borrowed::<2>(FORMS[0])?;
    for name in ["expiresAt", "registrationExpiresAt"].iter().filter(|name| file.fields().get(name).is_some())
    {
        PrimitiveDateTime::parse(file.text(name)?, &whole_seconds)
            .with_context(|| format!("{sign_in}: {name}"))?;
    }
    assert_eq!((file.text("startUrl")?, file.text("region")?), (start_url, scene.emulator().region()));
    let fields = file.fields().as_object().context("no object")?;
    assert!(fields.values().all(|value| !value.is_null()), "{sign_in}: a field is null");
    Ok(())
}
