//! Real files in a directory of the test's, and the writers that there are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use secrecy::SecretString;
use stormtunnel_aws_files::tokens::CacheDirectory;
use stormtunnel_model::SignInName;
use tempfile::TempDir;

use super::*;

/// Long enough for a busy machine, and less than a poll.
const DEADLINE: Duration = Duration::from_secs(10);
/// For how long slow writers leave half a file.
const HALF_DONE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_file_that_is_rewritten_in_place() {
    let mut home = Home::with(&["a"]).await;
    fs::write(home.config(), text(&["a", "b"])).unwrap();
    home.wait(&["a", "b"]).await;
    assert_eq!(home.changes().as_str(), "+b");
    fs::write(home.config(), text(&["b"])).unwrap();
    home.wait(&["b"]).await;
    assert_eq!(home.changes().as_str(), "-a");
}

#[tokio::test]
async fn a_file_that_is_replaced_by_rename() {
    let mut home = Home::with(&["a"]).await;
    for names in [["a", "b"], ["a", "c"]] {
        let new = home.path(".aws/config.swap");
        fs::write(&new, text(&names)).unwrap();
        fs::rename(&new, home.config()).unwrap();
        home.wait(&names).await;
    }
}

#[tokio::test]
async fn a_file_that_is_truncated_for_a_while_loses_nothing() {
    let mut home = Home::with(&["a"]).await;
    let before = home.generation();
    fs::write(home.config(), "").unwrap();
    home.is_quiet(HALF_DONE).await;
    fs::write(home.config(), text(&["a", "b"])).unwrap();
    home.wait(&["a", "b"]).await;
    assert_eq!((home.generation(), home.changes().as_str()), (before + 1, "+b"));
}

#[tokio::test]
async fn half_a_file_is_not_believed() {
    let mut home = Home::with(&["a", "b"]).await;
    let before = home.generation();
    let whole = text(&["a", "b", "c"]);
    // Profile b is there, and has lost its region.
    let half = whole.split_inclusive('\n').take(3).collect::<String>();
    fs::write(home.config(), half).unwrap();
    home.is_quiet(HALF_DONE).await;
    fs::write(home.config(), whole).unwrap();
    home.wait(&["a", "b", "c"]).await;
    assert_eq!((home.generation(), home.changes().as_str()), (before + 1, "+c"));
}

#[tokio::test]
async fn a_file_that_is_deleted_and_restored_loses_nothing() {
    let mut home = Home::with(&["a"]).await;
    let before = home.generation();
    fs::remove_file(home.config()).unwrap();
    home.is_quiet(HALF_DONE).await;
    fs::write(home.config(), text(&["a", "b"])).unwrap();
    home.wait(&["a", "b"]).await;
    assert_eq!((home.generation(), home.changes().as_str()), (before + 1, "+b"));
    fs::remove_file(home.config()).unwrap();
    home.wait(&[]).await;
    assert_eq!(home.changes().as_str(), "-a -b");
}

#[tokio::test]
async fn a_directory_that_comes_and_goes() {
    let mut home = Home::new();
    for names in [["a"], ["b"]] {
        fs::create_dir(home.path(".aws")).unwrap();
        fs::write(home.config(), text(&names)).unwrap();
        home.wait(&names).await;
        fs::remove_dir_all(home.path(".aws")).unwrap();
        home.wait(&[]).await;
    }
}

#[tokio::test]
async fn a_file_behind_a_link() {
    let mut home = Home::with(&[]).await;
    fs::create_dir(home.path("dotfiles")).unwrap();
    fs::write(home.path("dotfiles/aws"), text(&["a"])).unwrap();
    fs::remove_file(home.config()).unwrap();
    symlink("../dotfiles/aws", home.config()).unwrap();
    home.wait(&["a"]).await;
    fs::write(home.path("dotfiles/aws"), text(&["b"])).unwrap();
    home.wait(&["b"]).await;
    fs::write(home.path("dotfiles/new"), text(&["c"])).unwrap();
    fs::rename(home.path("dotfiles/new"), home.path("dotfiles/aws")).unwrap();
    home.wait(&["c"]).await;
    fs::write(home.path("dotfiles/other"), text(&["d"])).unwrap();
    fs::remove_file(home.config()).unwrap();
    symlink("../dotfiles/other", home.config()).unwrap();
    home.wait(&["d"]).await;
}

#[tokio::test]
async fn a_directory_behind_a_link() {
    let mut home = Home::new();
    for (directory, name) in [("one", "a"), ("other", "b")] {
        fs::create_dir(home.path(directory)).unwrap();
        fs::write(home.path(directory).join("config"), text(&[name])).unwrap();
        // As a rename, so that there is always one.
        symlink(directory, home.path("link")).unwrap();
        fs::rename(home.path("link"), home.path(".aws")).unwrap();
        home.wait(&[name]).await;
        fs::write(home.path(directory).join("config"), text(&[name, "more"])).unwrap();
        home.wait(&[name, "more"]).await;
    }
}

#[tokio::test]
async fn the_credentials_file_counts_as_well() {
    let mut home = Home::with(&["a"]).await;
    fs::write(home.path(".aws/credentials"), "[b]\naws_access_key_id = AKIA\n").unwrap();
    home.wait(&["a", "b"]).await;
}

#[tokio::test]
async fn own_writes_are_no_news() {
    let mut home = Home::with(&["a"]).await;
    let before = home.generation();
    stormtunnel_aws_files::replace(&home.config(), text(&["b"]).as_bytes()).unwrap();
    home.directory.reload();
    assert_eq!(home.generation(), before + 1, "at once, though a profile vanished");
    home.wait(&["b"]).await;
    fs::write(home.path(".aws/credentials"), "[c]\n").unwrap();
    home.wait(&["b", "c"]).await;
    assert_eq!(home.generation(), before + 2, "the watch had no news of our own write");
}

#[tokio::test]
async fn an_edit_that_changes_nothing_is_no_news() {
    let mut home = Home::with(&["a"]).await;
    let before = home.generation();
    fs::write(home.config(), format!("# mine\n{}", text(&["a"]))).unwrap();
    fs::write(home.path(".aws/credentials"), "[b]\n").unwrap();
    home.wait(&["a", "b"]).await;
    assert_eq!((home.generation(), home.changes().as_str()), (before + 1, "+b"));
}

#[tokio::test]
async fn what_is_wrong_hides_nothing_and_has_its_place() {
    let mut home = Home::with(&["a"]).await;
    fs::write(home.config(), format!("[profile b]\nnonsense\n{}", text(&["a"]))).unwrap();
    home.wait(&["a", "b"]).await;
    let problems: Vec<String> = home.snapshot().problems().collect();
    let place = format!("{}:2: ", home.config().display());
    assert!(matches!(&problems[..], [problem] if problem.starts_with(&place)), "{problems:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_says_what_it_said() {
    let mut home = Home::with(&["a"]).await;
    fs::remove_file(home.config()).unwrap();
    fs::create_dir(home.config()).unwrap();
    home.wait_for(|found| !found.unreadable.is_empty()).await;
    assert_eq!(home.names(), ["a"]);
    let problems: Vec<String> = home.snapshot().problems().collect();
    let place = format!("{}: cannot be read: ", home.config().display());
    assert!(matches!(&problems[..], [problem] if problem.starts_with(&place)), "{problems:?}");
    fs::remove_dir(home.config()).unwrap();
    fs::write(home.config(), text(&["b"])).unwrap();
    home.wait(&["b"]).await;
    assert_eq!(home.snapshot().problems().count(), 0);
}

#[tokio::test]
async fn the_region_of_profiles_that_have_none() {
    let mut home = Home::with(&[]).await;
    let profile = "[profile a]\nsso_start_url = https://x.awsapps.com/start\nsso_account_id = 111111111111\n\
                   sso_role_name = Dev\n";
    fs::write(home.config(), profile).unwrap();
    home.wait(&["a"]).await;
    let is_usable =
        |found: &ProfilesSnapshot| found.set.profiles().all(|(_, profile)| profile.credentials.is_ok());
    assert!(!is_usable(&home.snapshot()));
    home.region.send_replace(Some("eu-west-1".parse().unwrap()));
    home.wait_for(is_usable).await;
}

#[tokio::test]
async fn a_token_file_that_is_another_one() {
    let home = Home::with(&["a"]).await;
    let cache = CacheDirectory::new(&home.directory.paths().sso_cache);
    let (corp, other): (SignInName, SignInName) = ("corp".parse().unwrap(), "other".parse().unwrap());
    let file = cache.path().join(stormtunnel_aws_files::tokens::file_name(&corp));
    let mut tokens = home.directory.tokens();
    let mut changed = async || {
        let earlier = Arc::clone(&tokens.borrow());
        let differs = tokens.wait_for(|files| files.differ_from(&earlier, &corp));
        let files = tokio::time::timeout(DEADLINE, differs).await.expect("it is noticed").unwrap();
        assert!(!files.differ_from(&earlier, &other));
    };
    // By rename, in a directory that was not there; in place; and a logout.
    cache.put_token(&corp, &SecretString::from("{}")).unwrap();
    changed().await;
    fs::write(&file, "{\"a\": 1}").unwrap();
    changed().await;
    cache.delete_token(&corp).unwrap();
    changed().await;
    cache.put_token(&corp, &SecretString::from("{}")).unwrap();
    changed().await;
}

#[test]
fn what_vanished_is_believed_in_time() {
    let root = tempfile::tempdir().unwrap();
    let directory = AwsDirectory::open(paths(&root), watch::channel(None).1);
    let profiles = directory.profiles();
    let (start, config) = (Instant::now(), &directory.paths().config);
    let at = |time| directory.look(start + time);
    fs::create_dir(root.path().join(".aws")).unwrap();
    fs::write(config, text(&["a"])).unwrap();
    assert_eq!(
        (at(Duration::ZERO), profiles.borrow().generation),
        (None, 1),
        "what is new is believed at once"
    );

    let (gone, moment) = (Duration::from_secs(5), Duration::from_millis(1));
    fs::write(config, "").unwrap();
    assert_eq!(at(gone), Some(DOUBT));
    assert_eq!(at(gone + DOUBT - moment), Some(moment));
    // Whole again: the doubt begins anew.
    fs::write(config, text(&["a"])).unwrap();
    assert_eq!(at(gone + DOUBT), None);
    fs::write(config, "").unwrap();
    assert_eq!((at(2 * gone), profiles.borrow().generation), (Some(DOUBT), 1));
    assert_eq!((at(2 * gone + DOUBT), profiles.borrow().generation), (None, 2));
    let slack = Duration::from_millis(300);
    assert!(file_watch::QUIET + DOUBT + slack <= Duration::from_secs(1), "the promise is a second");
}

/// A home directory whose AWS files are followed.
struct Home {
    root: TempDir,
    directory: Arc<AwsDirectory>,
    profiles: watch::Receiver<Arc<ProfilesSnapshot>>,
    region: watch::Sender<Option<Region>>,
    tasks: Tasks,
}

impl Home {
    /// One without `~/.aws`.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let region = watch::Sender::new(None);
        let directory = AwsDirectory::open(paths(&root), region.subscribe());
        let (profiles, tasks) = (directory.profiles(), Tasks::new());
        directory.watch(&tasks).unwrap();
        Self { root, directory, profiles, region, tasks }
    }

    /// One whose config file has those profiles; it is followed by events when this returns.
    async fn with(names: &[&str]) -> Self {
        let mut home = Self::new();
        fs::create_dir(home.path(".aws")).unwrap();
        fs::write(home.config(), text(&["first"])).unwrap();
        home.wait(&["first"]).await;
        fs::write(home.config(), text(names)).unwrap();
        home.wait(names).await;
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path(".aws/config")
    }

    fn snapshot(&self) -> Arc<ProfilesSnapshot> {
        Arc::clone(&self.profiles.borrow())
    }

    fn generation(&self) -> u64 {
        self.snapshot().generation
    }

    fn names(&self) -> Vec<String> {
        names(&self.snapshot())
    }

    /// The last change: profiles that were added (+), removed (-), changed (~).
    fn changes(&self) -> String {
        let changes = &self.snapshot().changes.profiles;
        let lists = [("+", &changes.added), ("-", &changes.removed), ("~", &changes.changed)];
        let words =
            lists.iter().flat_map(|(sign, names)| names.iter().map(move |name| format!("{sign}{name}")));
        words.collect::<Vec<_>>().join(" ")
    }

    async fn wait(&mut self, wanted: &[&str]) {
        self.wait_for(|found| names(found) == wanted).await;
    }

    async fn wait_for(&mut self, wanted: impl Fn(&ProfilesSnapshot) -> bool) {
        let found =
            tokio::time::timeout(DEADLINE, self.profiles.wait_for(|found| wanted(found))).await.is_ok();
        assert!(found, "it stayed at {:?}", self.names());
    }

    /// Nothing is published for so long.
    async fn is_quiet(&mut self, time: Duration) {
        let news = tokio::time::timeout(time, self.profiles.changed()).await;
        assert!(news.is_err(), "{:?} were published", self.names());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

fn paths(root: &TempDir) -> AwsPaths {
    AwsPaths::new(root.path(), |_| None)
}

fn names(found: &ProfilesSnapshot) -> Vec<String> {
    found.set.profiles().map(|(name, _)| name.to_string()).collect()
}

/// A config file with those profiles.
fn text(names: &[&str]) -> String {
    names.iter().map(|name| format!("[profile {name}]\nregion = eu-west-1\n")).collect()
}
