//! What the engine is told of the profiles in the AWS files. Keys stay here.

use std::collections::BTreeMap;
use std::sync::Arc;

use stormtunnel_aws_files::{
    Credentials, Profile as FileProfile, ProfileSet, Role, Source, SsoRole, WebIdentity,
};
use stormtunnel_engine::profiles::directory::{ConfiguredProfile, ConfiguredProfiles};
use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use stormtunnel_model::{Fault, FaultKind, FileProblem, OnDemand, Profile};
use tokio::sync::watch;

use crate::aws_dir::{ProfilesSnapshot, Unreadable};

/// The profiles of these files, now and after each change, until the tasks are cancelled.
///
/// # Errors
/// [`TasksClosed`].
pub fn follow(
    mut files: watch::Receiver<Arc<ProfilesSnapshot>>,
    tasks: &Tasks,
) -> Result<watch::Receiver<Arc<ConfiguredProfiles>>, TasksClosed> {
    let first = Arc::clone(&files.borrow_and_update());
    let mut versions = Versions::of(&first);
    let configured = watch::Sender::new(Arc::new(versions.configured(&first)));
    let (followed, cancelled) = (configured.subscribe(), tasks.cancelled().clone());
    let follow = async move {
        while files.changed().await.is_ok() {
            let snapshot = Arc::clone(&files.borrow_and_update());
            versions.move_on(&snapshot);
            configured.send_replace(Arc::new(versions.configured(&snapshot)));
        }
    };
    tasks.spawn("AWS profiles", async move {
        let _cancelled = cancelled.run_until_cancelled(follow).await;
    })?;
    Ok(followed)
}

/// In which generation of the files each profile became what it is. A receiver may miss generations, so that their own lists of
/// changes are not enough.
struct Versions {
    set: Arc<ProfileSet>,
    since: BTreeMap<Profile, u64>,
}

impl Versions {
    fn of(snapshot: &ProfilesSnapshot) -> Self {
        let since = snapshot.set.profiles().map(|(name, _)| (name.clone(), snapshot.generation)).collect();
        Self { set: Arc::clone(&snapshot.set), since }
    }

    fn move_on(&mut self, snapshot: &ProfilesSnapshot) {
        let changes = snapshot.set.changes_since(&self.set).profiles;
        for name in changes.removed {
            self.since.remove(&name);
        }
        self.since
            .extend(changes.added.into_iter().chain(changes.changed).map(|name| (name, snapshot.generation)));
        self.set = Arc::clone(&snapshot.set);
    }

    fn configured(&self, snapshot: &ProfilesSnapshot) -> ConfiguredProfiles {
        let version = |name: &Profile| self.since.get(name).copied().unwrap_or(snapshot.generation);
        let profile =
            |(name, found): (&Profile, &FileProfile)| (name.clone(), plain(name, found, version(name)));
        ConfiguredProfiles {
            profiles: snapshot.set.profiles().map(profile).collect(),
            problems: problems(snapshot),
        }
    }
}

/// A profile without its keys.
fn plain(name: &Profile, found: &FileProfile, version: u64) -> ConfiguredProfile {
    let credentials = found.credentials.as_ref();
    let (account, role) = credentials.map_or((None, None), account_and_role);
    let invalid = credentials.err().map(|invalid| {
        let kind = FaultKind::CredentialsInvalid { profile: name.to_string() };
        Fault::new(kind, invalid.to_string())
    });
    ConfiguredProfile {
        version,
        kind: credentials.ok().map(Credentials::kind),
        region: found.region.clone(),
        home_region: credentials.ok().and_then(home_region),
        sign_in: found.sign_in.clone(),
        account,
        role,
        invalid,
        on_demand: credentials.ok().and_then(on_demand),
    }
}

/// What the last step leads to, where the files say it.
fn account_and_role(credentials: &Credentials) -> (Option<String>, Option<String>) {
    match (credentials.roles.last(), &credentials.source) {
        (Some(Role { arn, .. }), _) | (None, Source::WebIdentity(WebIdentity { role_arn: arn, .. })) => {
            of_arn(arn)
        }
        (None, Source::Sso(SsoRole { account, role, .. })) => (Some(account.clone()), Some(role.clone())),
        (
            None,
            Source::Static(_)
            | Source::LoginSession(_)
            | Source::Process(_)
            | Source::Environment
            | Source::EcsContainer
            | Source::Ec2Metadata
            | Source::Ambient,
        ) => (None, None),
    }
}

/// Account and name out of `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
fn of_arn(arn: &str) -> (Option<String>, Option<String>) {
    let mut parts = arn.splitn(6, ':').skip(4);
    let account = parts.next().filter(|account| !account.is_empty());
    let role = parts.next().and_then(|resource| resource.strip_prefix("role/")?.rsplit('/').next());
    (account.map(str::to_owned), role.map(str::to_owned))
}

/// The region of the sign-in: no region of the profile's resources, but one of the right partition.
fn home_region(credentials: &Credentials) -> Option<stormtunnel_model::Region> {
    match &credentials.source {
        Source::Sso(role) => Some(role.region.clone()),
        Source::WebIdentity(_)
        | Source::Static(_)
        | Source::LoginSession(_)
        | Source::Process(_)
        | Source::Environment
        | Source::EcsContainer
        | Source::Ec2Metadata
        | Source::Ambient => None,
    }
}

/// A question or a program out of nothing would be rude.
fn on_demand(credentials: &Credentials) -> Option<OnDemand> {
    let asks = credentials.roles.iter().any(|role| role.mfa_serial.is_some());
    let runs = matches!(credentials.source, Source::Process(_));
    match (asks, runs) {
        (true, _) => Some(OnDemand::AsksForCode),
        (false, true) => Some(OnDemand::RunsProgram),
        (false, false) => None,
    }
}

fn problems(snapshot: &ProfilesSnapshot) -> Vec<FileProblem> {
    let unreadable = snapshot.unreadable.iter().map(|Unreadable { file, why }| FileProblem {
        file: file.display().to_string(),
        line: None,
        text: format!("cannot be read: {why}: make it readable for you"),
    });
    let others = snapshot.set.problems().iter().map(|problem| FileProblem {
        file: problem.place.file.display().to_string(),
        line: u32::try_from(problem.place.line).ok(),
        text: format!("{}: {}", problem.kind, problem.kind.remedy()),
    });
    unreadable.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stormtunnel_aws_files::ProfileFile;
    use stormtunnel_model::ProfileKind;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    const CONFIG: &str = "\
[sso-session corp]
sso_start_url = https://x.awsapps.com/start
sso_region = eu-central-1
[profile sso]
sso_session = corp
sso_account_id = 111111111111
sso_role_name = Admin
region = eu-west-1
[profile chain]
role_arn = arn:aws:iam::222222222222:role/path/Target
source_profile = sso
[profile mfa]
role_arn = arn:aws:iam::222222222222:role/Target
source_profile = keys
mfa_serial = arn:aws:iam::111111111111:mfa/me
[profile keys]
aws_access_key_id = AKIA
aws_secret_access_key = CANARY
[profile program]
credential_process = tool CANARY
[profile broken]
role_arn = arn:aws:iam::222222222222:role/T
region = nowhere
";

    fn snapshot(generation: u64, config: &str) -> Arc<ProfilesSnapshot> {
        let file = |text: &str| ProfileFile::new("config", text.as_bytes().to_vec());
        let set = Arc::new(ProfileSet::parse(&file(config), &file(""), None));
        let changes = set.changes_since(&set);
        Arc::new(ProfilesSnapshot { generation, set, changes, unreadable: Vec::new() })
    }

    fn configured(config: &str) -> ConfiguredProfiles {
        let snapshot = snapshot(1, config);
        Versions::of(&snapshot).configured(&snapshot)
    }

    fn get<'a>(configured: &'a ConfiguredProfiles, name: &str) -> &'a ConfiguredProfile {
        &configured.profiles[&name.parse().unwrap()]
    }

    #[test]
    fn a_profile_is_what_its_files_make_of_it() {
        let found = configured(CONFIG);
        let sso = get(&found, "sso");
        assert_eq!(
            (sso.kind, sso.sign_in.as_ref().map(|name| name.as_str())),
            (Some(ProfileKind::Sso), Some("corp"))
        );
        assert_eq!((sso.account.as_deref(), sso.role.as_deref()), (Some("111111111111"), Some("Admin")));
        let regions =
            [&sso.region, &sso.home_region].map(|region| region.as_ref().map(|region| region.as_str()));
        assert_eq!(regions, [Some("eu-west-1"), Some("eu-central-1")]);
        let chain = get(&found, "chain");
        assert_eq!((chain.kind, chain.sign_in.clone()), (Some(ProfileKind::AssumeRole), sso.sign_in.clone()));
        assert_eq!((chain.account.as_deref(), chain.role.as_deref()), (Some("222222222222"), Some("Target")));
        for (name, why) in [
            ("mfa", Some(OnDemand::AsksForCode)),
            ("program", Some(OnDemand::RunsProgram)),
            ("keys", None),
            ("sso", None),
        ] {
            assert_eq!(get(&found, name).on_demand, why, "{name}");
        }
        let broken = get(&found, "broken").invalid.as_ref().unwrap();
        let detail = "config:21: source_profile is missing: add it";
        assert_eq!((broken.kind.name(), broken.detail.as_str()), ("credentials_invalid", detail));
        let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("config:23: region is not the name"), "{problems:?}");
    }

    #[test]
    fn no_key_gets_out() {
        assert!(!format!("{:?}", configured(CONFIG)).contains("CANARY"));
    }

    #[tokio::test]
    async fn only_what_is_touched_is_another_one() {
        let files = watch::Sender::new(snapshot(1, CONFIG));
        let tasks = Tasks::new();
        let mut followed = follow(files.subscribe(), &tasks).unwrap();
        let first = Arc::clone(&followed.borrow_and_update());
        // The keys are all that differs, and nobody looks at the second generation.
        files.send_replace(snapshot(2, &CONFIG.replace("= CANARY", "= OTHER")));
        files.send_replace(snapshot(
            3,
            &CONFIG.replace("= CANARY", "= OTHER").replace("role/path", "role/other"),
        ));
        let changed = tokio::time::timeout(DEADLINE, followed.changed());
        changed.await.expect("it is noticed").unwrap();
        let second = followed.borrow_and_update();
        let others: Vec<&str> = second
            .profiles
            .iter()
            .filter(|(name, profile)| first.profiles[*name] != **profile)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            others,
            ["chain", "keys", "mfa"],
            "what takes keys from an edited profile is touched as well"
        );
        tasks.cancelled().cancel();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_without_a_line() {
        let mut found = ProfilesSnapshot {
            generation: 1,
            set: Arc::clone(&snapshot(1, "").set),
            changes: snapshot(1, "").changes.clone(),
            unreadable: Vec::new(),
        };
        found.unreadable.push(Unreadable { file: "/home/me/.aws/config".into(), why: "no".to_owned() });
        let told: Vec<String> = problems(&found).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["/home/me/.aws/config: cannot be read: no: make it readable for you"]);
    }
}
