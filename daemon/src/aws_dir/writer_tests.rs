//! The config file as it is written, in a directory of the test's.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use stormtunnel_engine::ports::Clock;
use stormtunnel_engine::sign_in::ports::ConfigFile as _;
use stormtunnel_engine::testing::TestClock;
use stormtunnel_model::{
    Fault, FaultKind, SectionChange, SsoConfig, SsoConfigured, SsoProfile, SsoSession, Timestamp,
};
use tempfile::TempDir;

use super::*;

const BEFORE: &str = "# mine\n[profile other]\nregion = us-west-2\n";

struct Home {
    root: TempDir,
    directory: Arc<AwsDirectory>,
    writer: ConfigWriter,
}

impl Home {
    fn new() -> Self {
        Self::with_clock(|_| Arc::new(TestClock::default()))
    }

    fn with_clock(clock: impl FnOnce(PathBuf) -> Arc<dyn Clock>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = AwsDirectory::open(AwsPaths::new(root.path(), |_| None), watch::channel(None).1);
        let writer = ConfigWriter::new(Arc::clone(&directory), clock(directory.paths().config.clone()));
        Self { root, directory, writer }
    }

    fn holding(self, config: &str) -> Self {
        fs::create_dir_all(self.root.path().join(".aws")).unwrap();
        fs::write(self.config(), config).unwrap();
        self
    }

    fn config(&self) -> PathBuf {
        self.directory.paths().config.clone()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path().join(".aws")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    async fn configure(&self, profile: &str, role: &str, overwrite: bool) -> Result<SsoConfigured, Fault> {
        self.writer.configure(&SsoConfig { overwrite, ..wanted(profile, role) }).await
    }
}

fn wanted(profile: &str, role: &str) -> SsoConfig {
    let profile = SsoProfile {
        name: profile.parse().unwrap(),
        account: "111122223333".parse().unwrap(),
        role: role.parse().unwrap(),
        region: None,
        output: None,
    };
    let session = SsoSession {
        name: "corp".parse().unwrap(),
        start_url: "https://x.awsapps.com/start".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        scopes: Vec::new(),
    };
    SsoConfig { session, profiles: vec![profile], overwrite: false }
}

fn changes(configured: &SsoConfigured) -> Vec<SectionChange> {
    configured.sections.iter().map(|one| one.change).collect()
}

#[tokio::test]
async fn what_is_written_is_known_at_once_and_what_was_is_kept() {
    let home = Home::new().holding(BEFORE);
    let first = home.configure("dev", "Dev", false).await.unwrap();
    assert_eq!(changes(&first), [SectionChange::Added, SectionChange::Added]);
    assert_eq!(first.file, home.config().display().to_string());
    let backup = PathBuf::from(first.backup.unwrap());
    assert_eq!(fs::read_to_string(&backup).unwrap(), BEFORE);
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
    assert!(home.text().starts_with(BEFORE), "{}", home.text());
    let known = Arc::clone(&home.directory.profiles().borrow());
    let dev = known.set.profile(&"dev".parse().unwrap()).unwrap();
    assert_eq!(dev.sign_in.as_ref().unwrap().as_str(), "corp");

    let again = home.configure("dev", "Dev", false).await.unwrap();
    assert_eq!((changes(&again), again.backup), (vec![SectionChange::Unchanged; 2], None));
    assert_eq!(home.files().len(), 2, "nothing was changed, and nothing copied");
}

#[tokio::test]
async fn where_there_was_no_file_there_is_one_for_its_owner_only() {
    let home = Home::new();
    let written = home.configure("dev", "Dev", false).await.unwrap();
    assert_eq!((written.backup, home.files()), (None, vec!["config".to_owned()]));
    assert_eq!(fs::metadata(home.config()).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_link_stays_one_and_the_copy_lies_beside_it() {
    let home = Home::new().holding("");
    let dotfiles = home.root.path().join("dotfiles");
    fs::write(&dotfiles, BEFORE).unwrap();
    fs::remove_file(home.config()).unwrap();
    symlink(&dotfiles, home.config()).unwrap();
    let written = home.configure("dev", "Dev", false).await.unwrap();
    assert!(fs::symlink_metadata(home.config()).unwrap().is_symlink());
    assert!(fs::read_to_string(&dotfiles).unwrap().contains("[profile dev]\n"));
    assert!(written.backup.unwrap().starts_with(&format!("{}.backup-", home.config().display())));
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_the_file_is_as_it_was() {
    let home = Home::new().holding(BEFORE);
    home.configure("dev", "Dev", false).await.unwrap();
    let (text, files) = (home.text(), home.files());
    let fault = home.configure("dev", "Admin", false).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::SectionExists { section: "[profile dev]".to_owned() });
    assert_eq!(fault.detail, "sso_role_name is \"Dev\", not \"Admin\"");
    assert_eq!((home.text(), home.files()), (text.clone(), files));
    let over = home.configure("dev", "Admin", true).await.unwrap();
    assert_eq!(changes(&over), [SectionChange::Unchanged, SectionChange::Changed]);
    assert_eq!(home.text(), text.replace("= Dev\n", "= Admin\n"));
}

#[tokio::test]
async fn what_cannot_be_written_is_an_argument_and_what_the_disk_refuses_is_not() {
    let home = Home::new().holding("");
    fs::write(home.root.path().join(".aws/credentials"), "[dev]\naws_access_key_id = AKIA\n").unwrap();
    let fault = home.configure("dev", "Dev", true).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "profiles.name".to_owned() });
    let mut url = wanted("other", "Dev");
    url.session.name = "https://x".parse().unwrap();
    let fault = home.writer.configure(&url).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "session.name".to_owned() });
    assert_eq!(home.text(), "");
    fs::remove_file(home.config()).unwrap();
    fs::create_dir(home.config()).unwrap();
    let fault = home.configure("other", "Dev", false).await.unwrap_err();
    assert!(fault.kind == FaultKind::Internal && fault.detail.contains("cannot be read"), "{fault}");
}

#[tokio::test]
async fn many_who_write_at_a_time_lose_nothing() {
    let home = Home::new().holding(BEFORE);
    let names: Vec<String> = (0..8).map(|number| format!("dev-{number}")).collect();
    let writes = names.iter().map(|name| home.configure(name, "Dev", false));
    let written = futures_util::future::join_all(writes).await;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    let text = home.text();
    assert!(text.starts_with(BEFORE) && names.iter().all(|name| text.contains(&format!("[profile {name}]"))));
    assert_eq!(text.matches("[sso-session corp]").count(), 1);
}

/// Somebody who edits the file whenever we are about to replace it, so often.
#[derive(Debug)]
struct Meddler {
    config: PathBuf,
    times: AtomicUsize,
}

impl Clock for Meddler {
    fn mono(&self) -> std::time::Instant {
        Instant::now().into_std()
    }

    fn wall(&self) -> Timestamp {
        let left = self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if let Ok(left) = left {
            let text = fs::read_to_string(&self.config).unwrap();
            fs::write(&self.config, format!("{text}# theirs {left}\n")).unwrap();
        }
        Timestamp::from_millis(1_700_000_000_000)
    }
}

#[tokio::test]
async fn what_somebody_else_writes_meanwhile_is_not_lost() {
    let meddler = |times| move |config| Arc::new(Meddler { config, times: AtomicUsize::new(times) }) as _;
    let home = Home::with_clock(meddler(2)).holding(BEFORE);
    let written = home.configure("dev", "Dev", false).await.unwrap();
    assert!(home.text().starts_with(&format!("{BEFORE}# theirs 2\n# theirs 1\n")), "{}", home.text());
    assert_eq!(home.files().len(), 2, "one copy, of the last: {:?}", home.files());
    assert!(fs::read_to_string(written.backup.unwrap()).unwrap().ends_with("# theirs 1\n"));

    let restless = Home::with_clock(meddler(usize::MAX)).holding(BEFORE);
    let fault = restless.configure("dev", "Dev", false).await.unwrap_err();
    assert!(fault.detail.contains("changed by somebody else all the time"), "{fault}");
    assert_eq!(restless.files(), ["config"], "no copies are left");
}
