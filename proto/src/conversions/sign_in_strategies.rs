//! Values of the types of the sign-in service, for round-trip tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use stormtunnel_model::{
    Account, CannotRenew, ConfiguredSection, LoginFlow, LoginPage, LoginProgress, LoginReason,
    LoginSurroundings, LoginWishes, Opener, Renewal, RenewalRule, SectionChange, SignIn, SignInActivity,
    SignInChoice, SignInEvent, SignInName, SignInProfile, SignInState, SignInStatus, SsoConfig,
    SsoConfigured, SsoProfile, SsoSection, SsoSession,
};

use super::strategies::{fault, profile, region, revision, time};
use crate::calls::{Login, LoginUpdate, SignInWatchEvent, SignInWatchUpdate};

const TEXT: &str = "\\PC{0,20}";

pub(super) fn name() -> impl Strategy<Value = SignInName> {
    prop_oneof!["[A-Za-z0-9 _-]{1,20}", url()].prop_map(|text| text.parse().unwrap())
}

fn url() -> impl Strategy<Value = String> {
    "https://[a-z]{1,10}\\.awsapps\\.com/start(/#?)?"
}

pub(super) fn choice() -> impl Strategy<Value = SignInChoice> {
    prop_oneof![
        Just(SignInChoice::Only),
        name().prop_map(SignInChoice::Named),
        profile().prop_map(SignInChoice::OfProfile),
        (url(), region()).prop_map(|(start_url, region)| {
            SignInChoice::At { start_url: start_url.parse().unwrap(), region }
        }),
    ]
}

fn flow() -> impl Strategy<Value = LoginFlow> {
    select(vec![LoginFlow::AuthorizationCode, LoginFlow::DeviceCode])
}

pub(super) fn login() -> impl Strategy<Value = Login> {
    let opener = prop_oneof![
        Just(Opener::Default),
        Just(Opener::Nobody),
        "[a-z]{1,10}( -[a-z])?".prop_map(Opener::Command),
    ];
    let surroundings = any::<[bool; 4]>().prop_map(|[remote, container, wsl, display]| LoginSurroundings {
        remote,
        container,
        wsl,
        display,
    });
    (choice(), option::of(flow()), opener, surroundings, any::<bool>()).prop_map(
        |(sign_in, flow, opener, surroundings, if_needed)| Login {
            sign_in,
            wishes: LoginWishes { flow, opener },
            surroundings,
            if_needed,
        },
    )
}

fn renewal() -> impl Strategy<Value = Renewal> {
    let rules = vec![
        RenewalRule::Threshold,
        RenewalRule::EarlyTwentyMinutes,
        RenewalRule::EarlyThird,
        RenewalRule::HalfOfLifetime,
        RenewalRule::Retry,
    ];
    let reasons = vec![
        CannotRenew::NoRefreshToken,
        CannotRenew::RegistrationExpired,
        CannotRenew::SessionEnded,
        CannotRenew::Refused,
    ];
    prop_oneof![
        (time(), select(rules)).prop_map(|(at, rule)| Renewal::At { at, rule }),
        Just(Renewal::WhenAwake),
        Just(Renewal::OnDemand),
        select(reasons).prop_map(Renewal::Impossible),
    ]
}

fn state() -> impl Strategy<Value = SignInState> {
    let reasons = vec![
        LoginReason::NeverSignedIn,
        LoginReason::SignedOutHere,
        LoginReason::SignedOutElsewhere,
        LoginReason::ExpiredElsewhere,
        LoginReason::SessionEnded,
        LoginReason::RefreshRefused,
        LoginReason::TokenRejected,
    ];
    prop_oneof![
        Just(SignInState::Unknown),
        (time(), renewal())
            .prop_map(|(expires_at, renewal)| SignInState::Authenticated { expires_at, renewal }),
        (time(), renewal())
            .prop_map(|(expires_at, renewal)| SignInState::ExpiringSoon { expires_at, renewal }),
        (time(), renewal()).prop_map(|(since, renewal)| SignInState::Expired { since, renewal }),
        select(reasons).prop_map(|reason| SignInState::NeedsLogin { reason }),
    ]
}

fn progress() -> impl Strategy<Value = LoginProgress> {
    let pages = vec![LoginPage::Opening, LoginPage::Opened, LoginPage::NotOpened, LoginPage::LeftToPerson];
    prop_oneof![
        Just(LoginProgress::Starting),
        (TEXT, option::of(TEXT), select(pages)).prop_map(|(url, user_code, page)| LoginProgress::Waiting {
            url,
            user_code,
            page
        }),
        Just(LoginProgress::Finishing),
    ]
}

fn sign_in() -> impl Strategy<Value = SignIn> {
    let activity = prop_oneof![
        Just(SignInActivity::Reading),
        Just(SignInActivity::Renewing),
        progress().prop_map(SignInActivity::LoggingIn),
    ];
    let status = (state(), option::of(activity), option::of(fault()))
        .prop_map(|(state, activity, trouble)| SignInStatus { state, activity, trouble });
    let profile = (profile(), option::of("[0-9]{12}"), option::of(TEXT))
        .prop_map(|(profile, account, role)| SignInProfile { profile, account, role });
    (name(), TEXT, region(), vec(profile, 0..3), status).prop_map(
        |(name, start_url, region, profiles, status)| SignIn { name, start_url, region, profiles, status },
    )
}

pub(super) fn login_update() -> impl Strategy<Value = LoginUpdate> {
    prop_oneof![
        (name(), flow(), TEXT).prop_map(|(sign_in, flow, reason)| LoginUpdate::Begun {
            sign_in,
            flow,
            reason
        }),
        progress().prop_map(LoginUpdate::Progress),
        sign_in().prop_map(|sign_in| LoginUpdate::SignedIn(Box::new(sign_in))),
    ]
}

pub(super) fn watch_update() -> impl Strategy<Value = SignInWatchUpdate> {
    let event = prop_oneof![
        vec(sign_in(), 0..3).prop_map(SignInWatchEvent::Snapshot),
        sign_in().prop_map(|sign_in| SignInWatchEvent::Changed(Box::new(sign_in))),
        name().prop_map(SignInWatchEvent::Removed),
        Just(SignInWatchEvent::Resumed),
    ];
    (revision(), event).prop_map(|(revision, event)| SignInWatchUpdate { revision, event })
}

pub(super) fn event() -> impl Strategy<Value = SignInEvent> {
    prop_oneof![
        any::<bool>().prop_map(|elsewhere| SignInEvent::SignedIn { elsewhere }),
        any::<bool>().prop_map(|elsewhere| SignInEvent::SignedOut { elsewhere }),
        (TEXT, option::of(time())).prop_map(|(reason, before)| SignInEvent::LoginNeeded { reason, before }),
        time().prop_map(|expires_at| SignInEvent::TokenRenewed { expires_at }),
        fault().prop_map(|fault| SignInEvent::RenewalFailed { fault }),
    ]
}

pub(super) fn account() -> impl Strategy<Value = Account> {
    ("[0-9]{12}", option::of(TEXT), option::of(TEXT)).prop_map(|(id, name, email)| Account {
        id,
        name,
        email,
    })
}

pub(super) fn sso_config() -> impl Strategy<Value = SsoConfig> {
    let session = (name(), url(), region(), vec("[a-z]{1,9}(:[a-z]{1,9})?", 0..3)).prop_map(
        |(name, start_url, region, scopes)| SsoSession {
            name,
            start_url: start_url.parse().unwrap(),
            region,
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
        },
    );
    let output = select(vec!["json", "yaml", "yaml-stream", "text", "table", "off"]);
    let profile = (profile(), "[0-9]{12}", "[A-Za-z+=,.@_-]{1,20}", option::of(region()), option::of(output))
        .prop_map(|(name, account, role, region, output)| SsoProfile {
            name,
            account: account.parse().unwrap(),
            role: role.parse().unwrap(),
            region,
            output: output.map(|output| output.parse().unwrap()),
        });
    (session, vec(profile, 0..3), any::<bool>()).prop_map(|(session, mut profiles, overwrite)| {
        profiles.sort_by(|one, other| one.name.cmp(&other.name));
        profiles.dedup_by(|one, other| one.name == other.name);
        SsoConfig { session, profiles, overwrite }
    })
}

pub(super) fn sso_configured() -> impl Strategy<Value = SsoConfigured> {
    let section = prop_oneof![name().prop_map(SsoSection::Session), profile().prop_map(SsoSection::Profile)];
    let change = select(vec![SectionChange::Added, SectionChange::Changed, SectionChange::Unchanged]);
    let section = (section, change).prop_map(|(section, change)| ConfiguredSection { section, change });
    (TEXT, option::of(TEXT), vec(section, 0..3)).prop_map(|(file, backup, sections)| SsoConfigured {
        file,
        backup,
        sections,
    })
}
