//! The profile service as a client sees it.

use std::collections::BTreeMap;

use stormtunnel_engine::profiles::directory::{ConfiguredProfile, ConfiguredProfiles};
use stormtunnel_engine::profiles::registry::ProfileWorld;
use stormtunnel_engine::tasks::Tasks;
use stormtunnel_engine::testing::{ScriptedIdentity, TestClock, TestEntropy};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{
    FileProblem, OnDemand, Principal, Profile, ProfileKind, ProfileList, ProfileRule, ProfileState,
};
use stormtunnel_proto::calls::{ProfileWatchEvent, ProfileWatchUpdate};
use tokio::sync::watch;

use super::*;

/// What stands in the AWS files.
struct Files {
    identity: Arc<ScriptedIdentity>,
    configured: watch::Sender<Arc<ConfiguredProfiles>>,
    profiles: Profiles,
}

impl Files {
    fn with(names: &[&str]) -> Self {
        let identity: Arc<ScriptedIdentity> = Arc::default();
        let configured = watch::Sender::new(Arc::new(files(names)));
        let world = ProfileWorld {
            identity: Arc::clone(&identity) as _,
            configured: configured.subscribe(),
            sign_ins: SignIns::none(),
            settings: watch::Sender::<Arc<Settings>>::default().subscribe(),
            clock: Arc::new(TestClock::default()),
            entropy: Arc::new(TestEntropy::default()),
            tasks: Tasks::new(),
        };
        Self { identity, configured, profiles: Profiles::start(world).unwrap() }
    }

    async fn daemon(&self) -> Daemon {
        Daemon::with_profiles(SignIns::none(), self.profiles.clone()).await
    }
}

/// Of them `mfa` wants a person.
fn files(names: &[&str]) -> ConfiguredProfiles {
    let profile = |name: &&str| {
        let profile = ConfiguredProfile {
            version: 1,
            kind: Some(ProfileKind::AssumeRole),
            region: Some("eu-west-1".parse().unwrap()),
            home_region: None,
            sign_in: None,
            account: Some("123456789012".to_owned()),
            role: Some("Dev".to_owned()),
            invalid: None,
            on_demand: (*name == "mfa").then_some(OnDemand::AsksForCode),
        };
        (name.parse().unwrap(), profile)
    };
    let profiles: BTreeMap<Profile, ConfiguredProfile> = names.iter().map(profile).collect();
    ConfiguredProfiles { profiles, problems: Vec::new() }
}

fn ada() -> Principal {
    "arn:aws:sts::123456789012:assumed-role/Dev/ada".parse().unwrap()
}

fn labels(list: &ProfileList) -> Vec<(&str, &str)> {
    list.profiles.iter().map(|one| (one.name.as_str(), one.state.label())).collect()
}

#[tokio::test]
async fn profiles_are_listed_and_checked() {
    let files = Files::with(&["dev", "mfa"]);
    let daemon = files.daemon().await;
    let client = daemon.client().await;
    assert_eq!(labels(&client.list_profiles().await.unwrap()), [("dev", "Checking"), ("mfa", "Not checked")]);
    files.identity.answer(Ok(ada()));
    let checked = within(client.check_profile(Some("mfa".parse().unwrap()))).await.unwrap();
    assert_eq!((checked.rule, checked.profile.state.principal()), (ProfileRule::Asked, Some(&ada())));
    assert_eq!(checked.profile.region.map(String::from).as_deref(), Some("eu-west-1"));
    let invalid = Fault::new(FaultKind::CredentialsInvalid { profile: "dev".to_owned() }, "expired");
    files.identity.answer(Err(invalid.clone()));
    let checked = within(client.check_profile(Some("dev".parse().unwrap()))).await.unwrap();
    assert_eq!(checked.profile.state, ProfileState::Invalid { fault: invalid }, "an answer, no failure");

    let missing = FaultKind::ProfileNotFound { profile: "nosuch".to_owned() };
    files.identity.answer(Err(Fault::new(missing.clone(), "did you mean dev?")));
    assert_eq!(fault(client.check_profile(Some("nosuch".parse().unwrap())).await).kind, missing);
    daemon.stop().await;
}

#[tokio::test]
async fn profiles_are_watched_from_a_snapshot_on() {
    let files = Files::with(&["dev", "mfa"]);
    let daemon = files.daemon().await;
    let client = daemon.client().await;
    let mut watch = client.watch_profiles(None).await.unwrap();
    let first = within(watch.next()).await.unwrap().unwrap();
    assert!(
        matches!(&first.event, ProfileWatchEvent::Snapshot(list) if list.profiles.len() == 2),
        "{first:?}"
    );
    let problem = FileProblem { file: "config".to_owned(), line: Some(1), text: "odd".to_owned() };
    files.configured.send_modify(|files| {
        let files = Arc::make_mut(files);
        files.profiles.remove(&"mfa".parse().unwrap());
        files.problems.push(problem.clone());
    });
    files.identity.answer(Ok(ada()));
    let (mut removed, mut connected, mut told) = (false, false, false);
    let mut last = first.revision;
    while !(removed && connected && told) {
        let ProfileWatchUpdate { revision, event } = within(watch.next()).await.unwrap().unwrap();
        last = revision;
        match event {
            ProfileWatchEvent::Removed(name) => removed |= name.as_str() == "mfa",
            ProfileWatchEvent::Changed(one) => connected |= one.state.principal() == Some(&ada()),
            ProfileWatchEvent::Problems(problems) => told |= problems == [problem.clone()],
            ProfileWatchEvent::Snapshot(_) | ProfileWatchEvent::Resumed => panic!("neither is due"),
        }
    }
    let mut resumed = client.watch_profiles(Some(last)).await.unwrap();
    assert_eq!(within(resumed.next()).await.unwrap().unwrap().event, ProfileWatchEvent::Resumed);
    daemon.stop().await;
    assert_eq!(fault(within(watch.next()).await).kind, FaultKind::ShuttingDown);
}

#[tokio::test]
async fn a_daemon_without_profiles_answers_so() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    assert_eq!(client.list_profiles().await.unwrap(), ProfileList::default());
    let unknown = fault(client.check_profile(None).await);
    assert_eq!(unknown.kind, FaultKind::ProfileNotFound { profile: String::new() });
    daemon.stop().await;
}
