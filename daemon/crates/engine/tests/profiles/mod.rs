//! Profiles, and the sign-ins that they live on.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use stormtunnel_engine::ports::{AwsScope, Identity, PortFuture};
use stormtunnel_engine::profiles::board::{ProfileChange, ProfileWatcher};
use stormtunnel_engine::profiles::directory::{ConfiguredProfile, ConfiguredProfiles};
use stormtunnel_engine::profiles::registry::{ProfileWorld, Profiles};
use stormtunnel_engine::sign_in::directory::{ConfiguredSignIn, ConfiguredSignIns};
use stormtunnel_engine::sign_in::registry::{SignInWorld, SignIns};
use stormtunnel_engine::testing::{MemoryAccounts, MemoryConfig, ScriptedIdentity};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{
    AwsProfile, FileProblem, OnDemand, Principal, Profile, ProfileKind, ProfileRule, ProfileState,
    SignInChoice,
};

use super::*;

mod tunnels;

const DAY: Duration = Duration::from_secs(86_400);

fn keys(version: u64) -> ConfiguredProfile {
    ConfiguredProfile {
        version,
        kind: Some(ProfileKind::Static),
        region: None,
        home_region: None,
        sign_in: None,
        account: None,
        role: None,
        invalid: None,
        on_demand: None,
    }
}

fn sso() -> ConfiguredProfile {
    ConfiguredProfile {
        kind: Some(ProfileKind::Sso),
        home_region: Some("eu-west-1".parse().unwrap()),
        sign_in: Some("corp".parse().unwrap()),
        account: Some("123456789012".to_owned()),
        role: Some("Admin".to_owned()),
        ..keys(1)
    }
}

fn ada() -> Principal {
    "arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap()
}

fn name(name: &str) -> Profile {
    name.parse().unwrap()
}

struct Setup {
    world: World,
    identity: Arc<ScriptedIdentity>,
    settings: watch::Sender<Arc<Settings>>,
    configured: watch::Sender<Arc<ConfiguredProfiles>>,
    sign_ins: SignIns,
    profiles: Profiles,
}

impl Setup {
    /// With the sign-in `corp`.
    fn new(world: World, profiles: &[(&str, ConfiguredProfile)]) -> Self {
        let identity: Arc<ScriptedIdentity> = Arc::default();
        Self { identity: Arc::clone(&identity), ..Self::of(world, profiles, identity) }
    }

    fn of(world: World, profiles: &[(&str, ConfiguredProfile)], identity: Arc<dyn Identity>) -> Self {
        let known = ConfiguredSignIn { site: world.site(), profiles: Vec::new() };
        let known: ConfiguredSignIns = [(world.name.clone(), known)].into();
        let known = watch::Sender::new(Arc::new(known));
        let sign_ins = SignIns::start(SignInWorld {
            ports: world.ports(),
            configured: known.subscribe(),
            accounts: Arc::new(MemoryAccounts::default()),
            config: Arc::new(MemoryConfig::new(known)),
            policy: world.policy.subscribe(),
            tasks: world.tasks.clone(),
        });
        let sign_ins = sign_ins.unwrap();
        let settings = watch::Sender::default();
        let configured = watch::Sender::new(Arc::new(files(profiles)));
        let profiles = Profiles::start(ProfileWorld {
            identity,
            configured: configured.subscribe(),
            sign_ins: sign_ins.clone(),
            settings: settings.subscribe(),
            clock: Arc::clone(&world.clock) as _,
            entropy: Arc::new(TestEntropy::default()),
            tasks: world.tasks.clone(),
        });
        let (identity, profiles) = (Arc::default(), profiles.unwrap());
        Self { world, identity, settings, configured, sign_ins, profiles }
    }

    /// The same, and AWS takes all credentials.
    fn welcome(world: World, profiles: &[(&str, ConfiguredProfile)]) -> Self {
        let setup = Self::new(world, profiles);
        setup.identity.answer(Ok(ada()));
        setup
    }

    fn edit(&self, profiles: &[(&str, ConfiguredProfile)]) {
        self.configured.send_replace(Arc::new(files(profiles)));
    }

    fn state(&self, name: &str) -> ProfileState {
        self.get(name).state
    }

    fn get(&self, name: &str) -> AwsProfile {
        let found = self.profiles.list().profiles.into_iter().find(|one| one.name.as_str() == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    async fn check(&self, profile: &str) -> ProfileState {
        self.profiles.check(Some(name(profile))).await.unwrap().profile.state
    }

    /// Waits until the board shows these labels, by name.
    async fn shows(&self, wanted: &[(&str, &str)]) {
        let wanted: BTreeMap<String, &str> =
            wanted.iter().map(|(name, label)| ((*name).to_owned(), *label)).collect();
        let shown = || {
            let profiles = self.profiles.list().profiles;
            profiles.iter().map(|one| (one.name.to_string(), one.state.label())).collect::<BTreeMap<_, _>>()
        };
        let mut watcher = self.profiles.watch(None);
        let matches = async {
            while shown() != wanted {
                watcher.next().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, matches).await;
        assert!(waited.is_ok(), "it never did; it shows {:?}", shown());
    }

    /// Lets everything happen that is to happen within a minute.
    async fn settle(&self) {
        tokio::time::advance(MINUTE).await;
        tokio::task::yield_now().await;
    }
}

fn files(profiles: &[(&str, ConfiguredProfile)]) -> ConfiguredProfiles {
    let profiles = profiles.iter().map(|(key, profile)| (name(key), profile.clone())).collect();
    ConfiguredProfiles { profiles, problems: Vec::new() }
}

/// What a watcher is told without waiting.
fn told(watcher: &mut ProfileWatcher) -> Vec<ProfileChange> {
    use futures_util::FutureExt as _;
    std::iter::from_fn(|| watcher.next().now_or_never().flatten()).map(|news| news.change).collect()
}

#[tokio::test(start_paused = true)]
async fn profiles_are_checked_at_the_start_and_never_by_the_clock() {
    let setup = Setup::welcome(World::signed_in(DAY), &[("a", keys(1)), ("corp-dev", sso())]);
    setup.shows(&[("a", "Connected"), ("corp-dev", "Connected")]).await;
    let ProfileState::Connected { principal, .. } = setup.state("a") else { panic!("not connected") };
    assert_eq!(principal, ada());
    assert_eq!(setup.get("corp-dev").shown_role(), Some("Admin"));
    let mut watcher = setup.profiles.watch(None);
    assert_eq!(told(&mut watcher).len(), 1);
    for _hour in 0..12 {
        tokio::time::advance(60 * MINUTE).await;
        setup.settle().await;
    }
    assert_eq!((setup.identity.asked(), told(&mut watcher)), (2, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_start_is_no_burst() {
    let names: Vec<String> = (0..20).map(|number| format!("p{number:02}")).collect();
    let all: Vec<(&str, ConfiguredProfile)> = names.iter().map(|name| (name.as_str(), keys(1))).collect();
    let setup = Setup::new(World::new(), &all);
    setup.settle().await;
    assert_eq!((setup.identity.asked(), setup.identity.open()), (4, 4));
    // Who asks for one does not wait for its turn.
    let asked = tokio::time::timeout(MINUTE, setup.check("p19"));
    assert!(asked.await.is_err(), "AWS has not answered");
    assert_eq!(setup.identity.open(), 5);
    setup.identity.answer(Ok(ada()));
    let connected: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "Connected")).collect();
    setup.shows(&connected).await;
    assert_eq!(setup.identity.asked(), 20, "each once");
}

#[tokio::test(start_paused = true)]
async fn an_edit_disturbs_only_what_it_touches() {
    let setup = Setup::welcome(World::new(), &[("a", keys(1)), ("b", keys(1))]);
    setup.shows(&[("a", "Connected"), ("b", "Connected")]).await;
    let untouched = setup.get("a");
    let mut watcher = setup.profiles.watch(None);
    assert_eq!(told(&mut watcher).len(), 1);
    setup.settle().await;
    setup.edit(&[("a", keys(1)), ("b", keys(2)), ("c", keys(2))]);
    setup.shows(&[("a", "Connected"), ("b", "Connected"), ("c", "Connected")]).await;
    assert_eq!(setup.get("a"), untouched, "not even the time of its check");
    let asked: Vec<_> = setup.identity.asked_of().into_iter().filter_map(|scope| scope.profile).collect();
    assert_eq!(asked, ["a", "b", "b", "c"].map(name));
    let touched = told(&mut watcher);
    let of_a =
        |change: &ProfileChange| matches!(change, ProfileChange::Changed(one) if one.name == name("a"));
    assert!(!touched.is_empty() && !touched.iter().any(of_a), "{touched:?}");

    setup.edit(&[("a", keys(1)), ("c", keys(2))]);
    setup.shows(&[("a", "Connected"), ("c", "Connected")]).await;
    assert_eq!(told(&mut watcher), [ProfileChange::Removed(name("b"))]);
    assert_eq!(setup.identity.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_what_stood_there_before_counts_for_nothing() {
    let setup = Setup::new(World::new(), &[("a", keys(1))]);
    setup.settle().await;
    let asked = setup.profiles.check(Some(name("a")));
    let edited = async {
        setup.settle().await;
        setup.edit(&[("a", keys(2))]);
        setup.settle().await;
        setup.identity.answer(Ok(ada()));
    };
    let (checked, ()) = tokio::join!(asked, edited);
    assert_eq!(checked.unwrap().profile.state.principal(), Some(&ada()));
    assert_eq!(setup.identity.asked(), 2, "who asked waited for the second answer");
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_get_one_answer() {
    let setup = Setup::new(World::new(), &[("a", keys(1))]);
    let asked = join_all((0..100).map(|_| setup.profiles.check(Some(name("a")))));
    let answered = async {
        setup.settle().await;
        setup.identity.answer(Ok(ada()));
    };
    let (answers, ()) = tokio::join!(asked, answered);
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().profile.state.principal().is_some()));
    assert_eq!(setup.identity.asked(), 1);
    setup.identity.answer(Err(invalid("expired")));
    assert_eq!(setup.check("a").await, ProfileState::Invalid { fault: invalid("expired") });
    assert_eq!(setup.identity.asked(), 2, "an answer is not kept for the next one");
}

fn invalid(detail: &str) -> Fault {
    Fault::new(FaultKind::CredentialsInvalid { profile: "a".to_owned() }, detail)
}

#[tokio::test(start_paused = true)]
async fn a_login_and_a_logout_are_noticed() {
    let setup = Setup::welcome(World::new(), &[("a", keys(1)), ("dev", sso()), ("prod", sso())]);
    setup.shows(&[("a", "Connected"), ("dev", "Invalid"), ("prod", "Invalid")]).await;
    let needed = setup.state("dev").fault().unwrap().clone();
    assert_eq!(needed.kind, FaultKind::SignInNeeded { sign_in: "corp".to_owned() });
    assert_eq!(setup.check("dev").await, ProfileState::Invalid { fault: needed });
    assert_eq!(setup.identity.asked(), 1, "AWS is not asked where a login is needed");

    setup.world.browser.finish(Some(Ok(())));
    setup.sign_ins.get(&setup.world.name).unwrap().login(person()).await.unwrap();
    setup.shows(&[("a", "Connected"), ("dev", "Connected"), ("prod", "Connected")]).await;
    assert_eq!(setup.identity.asked(), 3);
    setup.sign_ins.logout(&SignInChoice::Named(setup.world.name.clone())).await.unwrap();
    setup.shows(&[("a", "Connected"), ("dev", "Invalid"), ("prod", "Invalid")]).await;
    assert_eq!(setup.identity.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_for_a_code_who_did_not_ask() {
    let why = OnDemand::AsksForCode;
    let mfa = ConfiguredProfile { on_demand: Some(why), kind: Some(ProfileKind::AssumeRole), ..sso() };
    let program = ConfiguredProfile { on_demand: Some(OnDemand::RunsProgram), ..keys(1) };
    let setup = Setup::welcome(World::signed_in(DAY), &[("mfa", mfa.clone()), ("program", program.clone())]);
    setup.shows(&[("mfa", "Not checked"), ("program", "Not checked")]).await;
    setup.profiles.disturbed(Incident::NetworkChanged);
    setup.settle().await;
    assert_eq!((setup.identity.asked(), setup.state("mfa")), (0, ProfileState::Unchecked { why }));
    assert_eq!(setup.check("mfa").await.principal(), Some(&ada()));
    setup.edit(&[("mfa", ConfiguredProfile { version: 2, ..mfa }), ("program", program)]);
    setup.shows(&[("mfa", "Not checked"), ("program", "Not checked")]).await;
    assert_eq!(setup.identity.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_wrong_in_its_file_is_no_call() {
    let fault = invalid("config:3: source_profile is missing: add it");
    let broken = ConfiguredProfile { kind: None, invalid: Some(fault.clone()), ..keys(1) };
    let setup = Setup::welcome(World::new(), &[("a", broken)]);
    setup.shows(&[("a", "Invalid")]).await;
    assert_eq!(setup.check("a").await, ProfileState::Invalid { fault });
    assert_eq!(setup.identity.asked(), 0);
    setup.edit(&[("a", keys(2))]);
    setup.shows(&[("a", "Connected")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_back_is_a_reason_to_ask_again() {
    let setup = Setup::welcome(World::new(), &[("a", keys(1)), ("b", keys(1))]);
    let offline = Fault::new(FaultKind::Network, "dns error");
    setup.identity.answer_of(&name("b"), Err(offline.clone()));
    setup.shows(&[("a", "Connected"), ("b", "Unknown")]).await;
    assert_eq!(setup.state("b").fault(), Some(&offline));
    setup.identity.answer_of(&name("b"), Ok(ada()));
    setup.profiles.disturbed(Incident::Woke { slept: DAY, dark: true });
    setup.settle().await;
    assert_eq!(setup.identity.asked(), 2, "it woke for itself");
    setup.profiles.disturbed(Incident::NetworkChanged);
    setup.shows(&[("a", "Connected"), ("b", "Connected")]).await;
    assert_eq!(setup.identity.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_names_no_profile_means_the_default_one() {
    let setup = Setup::welcome(World::new(), &[("a", keys(1))]);
    let chosen = setup.profiles.check(None).await.unwrap();
    assert_eq!((chosen.rule, chosen.profile.kind), (ProfileRule::Default, Some(ProfileKind::Ambient)));
    let machine = AwsScope { profile: None, region: None };
    assert_eq!(setup.identity.asked_of().last(), Some(&machine), "what the machine has");
    setup.edit(&[("a", keys(1)), ("default", keys(1))]);
    setup.shows(&[("a", "Connected"), ("default", "Connected")]).await;
    let chosen = setup.profiles.check(None).await.unwrap();
    assert_eq!((chosen.rule, chosen.profile.name), (ProfileRule::Default, name("default")));
    setup
        .settings
        .send_replace(Arc::new(Settings { default_profile: Some(name("a")), ..Settings::default() }));
    let chosen = setup.profiles.check(None).await.unwrap();
    assert_eq!((chosen.rule, chosen.profile.name), (ProfileRule::Setting, name("a")));

    let missing = FaultKind::ProfileNotFound { profile: "nosuch".to_owned() };
    setup.identity.answer_of(&name("nosuch"), Err(Fault::new(missing.clone(), "did you mean a?")));
    let fault = setup.profiles.check(Some(name("nosuch"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.detail.as_str()), (missing, "did you mean a?"));
}

#[tokio::test(start_paused = true)]
async fn a_profile_without_a_region_is_asked_about_where_its_sign_in_is() {
    let setup = Setup::new(World::signed_in(DAY), &[("a", keys(1)), ("dev", sso())]);
    let no_region = FaultKind::InvalidArgument { field: "region".to_owned() };
    setup.identity.answer(Err(Fault::new(no_region, "no region is set")));
    setup.shows(&[("a", "Invalid"), ("dev", "Invalid")]).await;
    let mut regions: Vec<Option<String>> =
        setup.identity.asked_of().into_iter().map(|scope| scope.region.map(Into::into)).collect();
    regions.sort();
    let home = |region: &str| Some(region.to_owned());
    assert_eq!(regions, [None, None, home("eu-west-1"), home("us-east-1")]);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_in_the_files_is_told_and_taken_back() {
    let setup = Setup::welcome(World::new(), &[]);
    let mut watcher = setup.profiles.watch(None);
    assert!(matches!(told(&mut watcher)[..], [ProfileChange::Snapshot(_)]));
    let problem = FileProblem { file: "config".to_owned(), line: Some(3), text: "odd".to_owned() };
    setup.configured.send_modify(|files| Arc::make_mut(files).problems.push(problem.clone()));
    setup.settle().await;
    assert_eq!(setup.profiles.list().problems, std::slice::from_ref(&problem));
    assert_eq!(told(&mut watcher), [ProfileChange::Problems(vec![problem])]);
    setup.edit(&[]);
    setup.settle().await;
    assert_eq!(told(&mut watcher), [ProfileChange::Problems(Vec::new())]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_the_daemon_stops_is_told() {
    let setup = Setup::new(World::new(), &[("a", keys(1))]);
    let stop = async {
        setup.settle().await;
        setup.world.tasks.cancelled().cancel();
    };
    let (state, ()) = tokio::join!(setup.check("a"), stop);
    assert_eq!(state.fault().unwrap().kind, FaultKind::ShuttingDown);
    assert_eq!(Profiles::none().check(None).await.unwrap_err().kind.name(), "profile_not_found");
}

/// Fails as no adapter should.
struct Broken;

impl Identity for Broken {
    fn caller<'a>(&'a self, _: &'a AwsScope) -> PortFuture<'a, Result<Principal, Fault>> {
        Box::pin(async { panic!("an adapter is broken") })
    }

    fn check<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Principal, Fault>> {
        self.caller(scope)
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_breaks_off_says_so_and_holds_nobody_up() {
    let setup = Setup::of(World::new(), &[("a", keys(1))], Arc::new(Broken));
    setup.shows(&[("a", "Unknown")]).await;
    let fault = setup.check("a").await.fault().cloned().unwrap();
    assert_eq!((fault.kind, fault.detail.as_str()), (FaultKind::Internal, "the check was given up"));
}
