//! `~/.aws`: its profiles, read at the start and followed from then on, and what happens to the token files in its cache.
//!
//! Both are published: profiles as one immutable [`ProfilesSnapshot`], token files as [`TokenFiles`], which only say that a file
//! is another one. What is wrong in a file hides nothing else and shows as a problem.
//!
//! Others write these files while we read them, and not all of them by rename. So something new is believed at once, but that
//! something vanished, or is another one, only when that is still so half a second later: it may have been half a file.
//!
//! [`ConfigWriter`] is the one that writes: sign-ins and profiles, when somebody asks for them.

mod paths;
mod sign_ins;
mod snapshot;
mod source;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stormtunnel_aws_files::{Diff, ProfileFile, ProfileSet};
use stormtunnel_engine::tasks::{Tasks, TasksClosed};
use stormtunnel_model::Region;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::paths::AwsPaths;
pub use self::sign_ins::configured_sign_ins;
pub use self::snapshot::{ProfilesSnapshot, TokenFiles, Unreadable};
pub use self::source::WatchedProfiles;
pub use self::writer::ConfigWriter;
use crate::file_watch;

/// For how long something must be missing or another one until that is believed. Writers that truncate first, or that delete
/// and write anew, take milliseconds, a busy machine more.
const DOUBT: Duration = Duration::from_millis(500);

/// The files that are shared with the AWS CLI and the SDKs, and what they say.
pub struct AwsDirectory {
    paths: AwsPaths,
    /// For profiles that have a start URL and no `sso_region`.
    default_region: watch::Receiver<Option<Region>>,
    state: Mutex<State>,
    profiles: watch::Sender<Arc<ProfilesSnapshot>>,
    tokens: watch::Sender<Arc<TokenFiles>>,
}

/// What the snapshot was made of. No `Debug`, as with all that holds keys.
struct State {
    config: ProfileFile,
    credentials: ProfileFile,
    /// Since when the files say less than the snapshot, and what they say: something else is doubted anew.
    doubted: Option<(Instant, ProfileSet)>,
}

impl AwsDirectory {
    /// Reads the files. None of them need exist, and nothing that is wrong with them is fatal. Blocks for the disk.
    /// `default_region` is the region of IAM Identity Center for profiles that name none.
    pub fn open(paths: AwsPaths, default_region: watch::Receiver<Option<Region>>) -> Arc<Self> {
        let config = ProfileFile::new(&paths.config, Vec::new());
        let credentials = ProfileFile::new(&paths.credentials, Vec::new());
        let set = ProfileSet::parse(&config, &credentials, None);
        let changes = set.changes_since(&set);
        let empty = ProfilesSnapshot { generation: 0, set: Arc::new(set), changes, unreadable: Vec::new() };
        let directory = Self {
            paths,
            default_region,
            state: Mutex::new(State { config, credentials, doubted: None }),
            profiles: watch::Sender::new(Arc::new(empty)),
            tokens: watch::Sender::default(),
        };
        directory.reload();
        Arc::new(directory)
    }

    /// Where the files are.
    pub fn paths(&self) -> &AwsPaths {
        &self.paths
    }

    /// The profiles, now and after each change.
    pub fn profiles(&self) -> watch::Receiver<Arc<ProfilesSnapshot>> {
        self.profiles.subscribe()
    }

    /// The token files, now and after each change.
    pub fn tokens(&self) -> watch::Receiver<Arc<TokenFiles>> {
        self.tokens.subscribe()
    }

    /// Takes what the files say now, whatever they said before: for whoever has just written them. The watch has no news then.
    /// Blocks for the disk.
    pub fn reload(&self) {
        self.look_at_tokens();
        self.look_at_profiles(None);
    }

    /// Follows the files until the tasks are cancelled.
    ///
    /// # Errors
    /// [`TasksClosed`].
    pub fn watch(self: &Arc<Self>, tasks: &Tasks) -> Result<(), TasksClosed> {
        // A directory is watched for what lies in it: any name will do.
        let any_token = self.paths.sso_cache.join("any.json");
        let files = vec![self.paths.config.clone(), self.paths.credentials.clone(), any_token];
        let directory = Arc::clone(self);
        file_watch::spawn("AWS files", files, tasks, move || directory.look(Instant::now()))?;
        let (directory, cancel) = (Arc::clone(self), tasks.cancelled().clone());
        tasks.spawn("default SSO region", async move {
            let followed = directory.follow_default_region();
            let _cancelled = cancel.run_until_cancelled(followed).await;
        })?;
        Ok(())
    }

    async fn follow_default_region(self: &Arc<Self>) {
        let mut region = self.default_region.clone();
        while region.changed().await.is_ok() {
            let directory = Arc::clone(self);
            let _panicked = tokio::task::spawn_blocking(move || directory.reload()).await;
        }
    }

    /// Looks at everything. Answers how long to wait before another look, if what was found is doubted.
    fn look(&self, now: Instant) -> Option<Duration> {
        self.look_at_tokens();
        self.look_at_profiles(Some(now))
    }

    fn look_at_tokens(&self) {
        let found = match TokenFiles::of(&self.paths.sso_cache) {
            Ok(found) => found,
            // Who needs a token reads its file anyway, and tells what is wrong with it.
            Err(error) => return tracing::debug!(%error, "cannot list {}", self.paths.sso_cache.display()),
        };
        self.tokens.send_if_modified(|files| {
            let changed = **files != found;
            if changed {
                *files = Arc::new(found);
            }
            changed
        });
    }

    /// Without a time nothing is doubted.
    fn look_at_profiles(&self, now: Option<Instant>) -> Option<Duration> {
        let mut state = self.state();
        let mut unreadable = Vec::new();
        let config = read(&self.paths.config, &mut unreadable);
        let credentials = read(&self.paths.credentials, &mut unreadable);
        let set = ProfileSet::parse(
            config.as_ref().unwrap_or(&state.config),
            credentials.as_ref().unwrap_or(&state.credentials),
            self.default_region.borrow().as_ref(),
        );
        let before = Arc::clone(&self.profiles.borrow());
        let changes = set.changes_since(&before.set);
        if let Some(now) = now.filter(|_| is_doubtful(&changes)) {
            let is_same = |(_, doubted): &(Instant, ProfileSet)| set.changes_since(doubted).is_empty();
            let since =
                state.doubted.as_ref().filter(|doubted| is_same(doubted)).map_or(now, |(since, _)| *since);
            let doubted = now.duration_since(since);
            if doubted < DOUBT {
                state.doubted = Some((since, set));
                return Some(DOUBT.saturating_sub(doubted));
            }
        }
        state.doubted = None;
        if let Some(config) = config {
            state.config = config;
        }
        if let Some(credentials) = credentials {
            state.credentials = credentials;
        }
        let set = Arc::new(set);
        self.publish(
            &before,
            ProfilesSnapshot { generation: before.generation + 1, set, changes, unreadable },
        );
        None
    }

    fn publish(&self, before: &ProfilesSnapshot, now: ProfilesSnapshot) {
        let is_same = now.changes.is_empty()
            && now.set.problems() == before.set.problems()
            && now.unreadable == before.unreadable;
        if is_same {
            return;
        }
        for problem in now.problems().filter(|problem| !before.problems().any(|known| known == *problem)) {
            tracing::warn!("{problem}");
        }
        self.profiles.send_replace(Arc::new(now));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each file is taken as a whole: the state is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Half a file lacks profiles, or keys of the last one; it never has more.
fn is_doubtful(changes: &Diff) -> bool {
    let Diff { profiles, sign_ins } = changes;
    let lists =
        [profiles.removed.len(), profiles.changed.len(), sign_ins.removed.len(), sign_ins.changed.len()];
    lists.iter().any(|count| *count > 0)
}

/// A file as it is; `None`, and why, if it is there and cannot be read.
fn read(path: &Path, unreadable: &mut Vec<Unreadable>) -> Option<ProfileFile> {
    let read = ProfileFile::read(path);
    read.map_err(|why: io::Error| unreadable.push(Unreadable::new(path, &why))).ok()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod writer_tests;
