//! All profiles, kept in step with the AWS files and with the sign-ins that they live on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{
    Attempt, AwsProfile, CheckedProfile, Epoch, Fault, FaultKind, OnDemand, Principal, Profile, ProfileKind,
    ProfileList, ProfileRule, ProfileState, Recovery, Region, Revision, SignIn, SignInName,
};
use tokio::sync::{Semaphore, watch};

use super::board::{Line, LineName, ProfileWatcher, list};
use super::decide::{Decision, Occasion, decide};
use super::directory::{ConfiguredProfile, ConfiguredProfiles};
use super::standing::Standing;
use crate::board::Board;
use crate::ports::{AwsScope, Clock, Entropy, Identity, Incident};
use crate::sign_in::board::{SignInChange, SignInWatcher};
use crate::sign_in::registry::SignIns;
use crate::tasks::{Tasks, TasksClosed};

/// Profiles that AWS is asked about at a time when nobody waits for the answers. A hundred of them must be no burst.
const AT_A_TIME: usize = 4;

/// How long what AWS said is not asked about again because somebody starts a tunnel.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// What profiles live on.
#[derive(Clone)]
pub struct ProfileWorld {
    /// Who AWS takes us for.
    pub identity: Arc<dyn Identity>,
    /// Which profiles there are.
    pub configured: watch::Receiver<Arc<ConfiguredProfiles>>,
    /// Their tokens.
    pub sign_ins: SignIns,
    /// For the default profile.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For the epoch of the revisions.
    pub entropy: Arc<dyn Entropy>,
    /// Where the questions run.
    pub tasks: Tasks,
}

/// All profiles. Cheap to clone.
#[derive(Clone)]
pub struct Profiles(Arc<Shared>);

struct Shared {
    /// Absent in a daemon that knows no profiles.
    world: Option<ProfileWorld>,
    inner: Mutex<Inner>,
    board: Board<Line>,
    turns: Semaphore,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<Profile, Entry>,
    standings: BTreeMap<SignInName, Standing>,
    /// The last check.
    attempt: Attempt,
}

struct Entry {
    known: ConfiguredProfile,
    /// As the board shows it, for those who wait for an answer.
    state: watch::Sender<ProfileState>,
    check: Option<Check>,
}

/// A check that is under way. Its answer counts only as long as it is the last one.
#[derive(Clone, Copy)]
struct Check {
    attempt: Attempt,
    /// It has its turn: whoever asks now waits for the same answer.
    running: bool,
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiles").finish_non_exhaustive()
    }
}

impl Profiles {
    /// None, and no way to ask AWS about one.
    pub fn none() -> Self {
        Self::new(None, Epoch(0))
    }

    /// Those of the AWS files, from now on.
    ///
    /// # Errors
    /// [`TasksClosed`] while the daemon stops.
    pub fn start(world: ProfileWorld) -> Result<Self, TasksClosed> {
        let seed = world.entropy.seed();
        let epoch = Epoch(u64::from_be_bytes(*seed.first_chunk().unwrap_or(&[0; 8])));
        let (tasks, mut configured) = (world.tasks.clone(), world.configured.clone());
        let sign_ins = world.sign_ins.watch(None);
        let known = world.sign_ins.list();
        let first = Arc::clone(&configured.borrow_and_update());
        let profiles = Self::new(Some(world), epoch);
        // Whoever gets these profiles finds all of them.
        known.iter().for_each(|sign_in| profiles.sign_in_changed(sign_in));
        profiles.reconcile(&first);
        let (followed, cancelled) = (profiles.clone(), tasks.cancelled().clone());
        tasks.spawn("profiles", async move {
            let follow = followed.follow(configured, sign_ins);
            let _ended = cancelled.run_until_cancelled(follow).await;
        })?;
        Ok(profiles)
    }

    fn new(world: Option<ProfileWorld>, epoch: Epoch) -> Self {
        let (inner, turns) = (Mutex::default(), Semaphore::new(AT_A_TIME));
        Self(Arc::new(Shared { world, inner, board: Board::new(epoch), turns }))
    }

    /// What the files say, for whoever follows it; none in a daemon that knows no profiles.
    pub(crate) fn configured(&self) -> Option<watch::Receiver<Arc<ConfiguredProfiles>>> {
        self.0.world.as_ref().map(|world| world.configured.clone())
    }

    /// Asks AWS about a profile that is about to be used, unless it said a moment ago that it takes the credentials, or a person or
    /// a program would be bothered twice.
    pub(crate) fn check_before_start(&self, name: &Profile) {
        let Some(world) = &self.0.world else { return };
        let mut inner = self.inner();
        let Some(entry) = inner.entries.get(name) else { return };
        let is_known = match &*entry.state.borrow() {
            ProfileState::Connected { at, .. } => world.clock.wall().since(*at) < KNOWN_FOR,
            ProfileState::Checking => entry.check.is_some(),
            ProfileState::Invalid { .. } | ProfileState::Unknown { .. } | ProfileState::Unchecked { .. } => {
                false
            }
        };
        if !is_known && entry.known.on_demand.is_none() {
            self.look_at(&mut inner, name, Occasion::Asked);
        }
    }

    /// Whether somebody may have to type a code for that profile's credentials.
    pub(crate) fn asks_for_code(&self, profile: Option<&Profile>) -> bool {
        let Some(world) = &self.0.world else { return false };
        let configured = world.configured.borrow();
        let asks = |known: &ConfiguredProfile| known.on_demand == Some(OnDemand::AsksForCode);
        let named = |name: &Profile| configured.profiles.get(name).is_some_and(asks);
        profile.map_or_else(|| DEFAULT.parse().is_ok_and(|name| named(&name)), named)
    }

    /// All of them, and what is wrong in their files.
    pub fn list(&self) -> ProfileList {
        list(self.0.board.list())
    }

    /// The profiles as they are, then each change. With a `since` of this daemon life only the changes, as far as they are
    /// remembered. Of a profile that changes faster than a watcher reads only the latest state is told.
    pub fn watch(&self, since: Option<Revision>) -> ProfileWatcher {
        ProfileWatcher::new(self.0.board.watch(since))
    }

    /// Asks AWS about a profile, or about the one that is meant where nobody names one, and answers how it is then. Whoever
    /// asks while AWS is being asked gets the same answer.
    ///
    /// # Errors
    /// `ProfileNotFound`, and `ShuttingDown`. That its credentials are of no use is an answer.
    pub async fn check(&self, profile: Option<Profile>) -> Result<CheckedProfile, Fault> {
        let Some(world) = &self.0.world else {
            return Err(not_found(profile.as_ref(), "this daemon does not read the AWS files"));
        };
        let default = || world.settings.borrow().default_profile.clone();
        let (name, rule) = match (profile, default()) {
            (Some(asked), _) => (Some(asked), ProfileRule::Asked),
            (None, Some(set)) => (Some(set), ProfileRule::Setting),
            (None, None) => (DEFAULT.parse().ok(), ProfileRule::Default),
        };
        let Some(name) = name else { return Err(Fault::internal("the default profile has no name")) };
        let Some(mut answer) = self.ask_about(&name) else {
            return unlisted(world, name, rule).await.map(|profile| CheckedProfile { profile, rule });
        };
        let settled = answer.wait_for(|state| *state != ProfileState::Checking).await;
        let gone = |_gone| not_found(Some(&name), "it was removed meanwhile");
        let state = settled.map_err(gone)?.clone();
        let shown = self.inner().entries.get(&name).map(|entry| entry.known.shown(&name, state));
        let profile = shown.ok_or_else(|| not_found(Some(&name), "it was removed meanwhile"))?;
        Ok(CheckedProfile { profile, rule })
    }

    /// Something happened to the machine: who could not be asked about may be by now.
    pub fn disturbed(&self, incident: Incident) {
        match incident {
            Incident::Woke { dark: false, .. } | Incident::NetworkChanged => {
                let mut inner = self.inner();
                let names: Vec<Profile> = inner.entries.keys().cloned().collect();
                names.iter().for_each(|name| self.look_at(&mut inner, name, Occasion::Reachable));
            }
            Incident::Woke { dark: true, .. } | Incident::ClockJumped { .. } => {}
        }
    }

    /// Ends all watchers.
    pub(crate) fn close(&self) {
        self.0.board.close();
    }

    /// Keeps in step with the files and the sign-ins.
    async fn follow(
        self,
        mut configured: watch::Receiver<Arc<ConfiguredProfiles>>,
        mut sign_ins: SignInWatcher,
    ) {
        loop {
            tokio::select! {
                biased;
                changed = configured.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = Arc::clone(&configured.borrow_and_update());
                    self.reconcile(&wanted);
                }
                news = sign_ins.next() => match news.map(|news| news.change) {
                    Some(SignInChange::Snapshot(all)) => all.iter().for_each(|one| self.sign_in_changed(one)),
                    Some(SignInChange::Changed(one)) => self.sign_in_changed(&one),
                    Some(SignInChange::Removed(name)) => self.sign_in_removed(&name),
                    Some(SignInChange::Resumed) => {}
                    None => return,
                }
            }
        }
    }

    fn reconcile(&self, wanted: &ConfiguredProfiles) {
        let mut inner = self.inner();
        let is_gone = |name: &&Profile| !wanted.profiles.contains_key(*name);
        let gone: Vec<Profile> = inner.entries.keys().filter(is_gone).cloned().collect();
        for name in gone {
            inner.entries.remove(&name);
            self.0.board.remove(&LineName::Profile(name));
        }
        for (name, profile) in &wanted.profiles {
            match inner.entries.get_mut(name) {
                Some(entry) if entry.known == *profile => continue,
                Some(entry) => entry.known = profile.clone(),
                None => {
                    let state = watch::Sender::new(ProfileState::Checking);
                    let entry = Entry { known: profile.clone(), state, check: None };
                    inner.entries.insert(name.clone(), entry);
                }
            }
            self.look_at(&mut inner, name, Occasion::Edited);
        }
        if wanted.problems.is_empty() {
            self.0.board.remove(&LineName::Problems);
        } else {
            self.0.board.put(Line::Problems(wanted.problems.clone()));
        }
    }

    fn sign_in_changed(&self, sign_in: &SignIn) {
        let mut inner = self.inner();
        let standing = Standing::of(sign_in);
        let before = inner.standings.insert(sign_in.name.clone(), standing.clone());
        if before.as_ref() == Some(&standing) {
            return;
        }
        let regained = !matches!(before, Some(Standing::Good { .. }));
        let lives_on_it = |(_, entry): &(&Profile, &Entry)| entry.known.lives_on() == Some(&sign_in.name);
        let names: Vec<Profile> =
            inner.entries.iter().filter(lives_on_it).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.look_at(&mut inner, name, Occasion::SignIn { regained }));
    }

    /// It is configured nowhere any more, or is another one in a moment.
    fn sign_in_removed(&self, sign_in: &SignInName) {
        let mut inner = self.inner();
        inner.standings.remove(sign_in);
        let lives_on_it = |(_, entry): &(&Profile, &Entry)| entry.known.lives_on() == Some(sign_in);
        let names: Vec<Profile> =
            inner.entries.iter().filter(lives_on_it).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.look_at(&mut inner, name, Occasion::Edited));
    }

    /// Has AWS asked about a profile; nothing for one that is not in the files.
    fn ask_about(&self, name: &Profile) -> Option<watch::Receiver<ProfileState>> {
        let mut inner = self.inner();
        let running = inner.entries.get(name)?.check.is_some_and(|check| check.running);
        if !running {
            self.look_at(&mut inner, name, Occasion::Asked);
        }
        inner.entries.get(name).map(|entry| entry.state.subscribe())
    }

    fn look_at(&self, inner: &mut Inner, name: &Profile, occasion: Occasion) {
        let Inner { entries, standings, attempt } = inner;
        let Some(entry) = entries.get_mut(name) else { return };
        // The sign-ins follow the same files, perhaps a moment later.
        let unheard = Standing::Awaited { trouble: None };
        let standing = entry.known.lives_on().map(|sign_in| standings.get(sign_in).unwrap_or(&unheard));
        let shown = entry.state.borrow().clone();
        match decide(&entry.known, standing, &shown, entry.check.is_some(), occasion) {
            Decision::Keep => {}
            Decision::Show(state) => {
                entry.check = None;
                self.show(name, entry, state);
            }
            Decision::Check => {
                *attempt = attempt.next();
                self.begin(name, entry, Check { attempt: *attempt, running: occasion == Occasion::Asked });
            }
        }
    }

    /// Begins a check, in place of the one that is under way. One that somebody waits for does not wait for its turn.
    fn begin(&self, name: &Profile, entry: &mut Entry, check: Check) {
        let Some(world) = &self.0.world else { return };
        entry.check = Some(check);
        self.show(name, entry, ProfileState::Checking);
        let (profiles, checked, home) = (self.clone(), name.clone(), entry.known.home_region.clone());
        let cancelled = world.tasks.cancelled().clone();
        let work = async move {
            let underway = Underway { profiles, name: checked, check };
            let _ended = cancelled.run_until_cancelled(underway.run(home)).await;
        };
        let profile = name.clone();
        let span = move || tracing::error_span!(parent: None, "profile", %profile);
        if world.tasks.spawn_within("check profile", span, work).is_err() {
            entry.check = None;
            self.show(name, entry, given_up(true));
        }
    }

    /// Whether it is still wanted, now that it has its turn.
    fn has_its_turn(&self, name: &Profile, attempt: Attempt) -> bool {
        let mut inner = self.inner();
        let check = inner.entries.get_mut(name).and_then(|entry| entry.check.as_mut());
        let current = check.filter(|check| check.attempt == attempt);
        current.map(|check| check.running = true).is_some()
    }

    /// What came of a check. That of one which another one has replaced counts for nothing.
    fn settle(&self, name: &Profile, attempt: Attempt, state: ProfileState) {
        let mut inner = self.inner();
        let Some(entry) = inner.entries.get_mut(name) else { return };
        if entry.check.is_some_and(|check| check.attempt == attempt) {
            entry.check = None;
            self.show(name, entry, state);
        }
    }

    fn show(&self, name: &Profile, entry: &Entry, state: ProfileState) {
        entry.state.send_replace(state.clone());
        self.0.board.put(Line::Profile(Box::new(entry.known.shown(name, state))));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No code that can panic runs between two changes of an entry: they are whole even after a panic.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check, which comes to an end in any case: dropped without an answer, it says so.
struct Underway {
    profiles: Profiles,
    name: Profile,
    check: Check,
}

impl Underway {
    async fn run(&self, home: Option<Region>) {
        let Self { profiles, name, check } = self;
        let Some(world) = &profiles.0.world else { return };
        let _turn = if check.running {
            None
        } else {
            let turn = profiles.0.turns.acquire().await;
            if !profiles.has_its_turn(name, check.attempt) {
                return;
            }
            Some(turn)
        };
        let answer = ask(world.identity.as_ref(), &scope(name), home).await;
        profiles.settle(name, check.attempt, state(answer, world.clock.as_ref()));
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let world = self.profiles.0.world.as_ref();
        let stopping = world.is_some_and(|world| world.tasks.cancelled().is_cancelled());
        self.profiles.settle(&self.name, self.check.attempt, given_up(stopping));
    }
}

/// The state after a check without an answer: the daemon is stopping, or the check panicked.
fn given_up(stopping: bool) -> ProfileState {
    let panicked = || Fault::internal("the check was given up");
    let fault = if stopping { Fault::new(FaultKind::ShuttingDown, "") } else { panicked() };
    ProfileState::Unknown { fault }
}

/// The profile of who names none, to every tool.
const DEFAULT: &str = "default";

/// Where AWS is asked about keys that nobody names a region for, as other tools do.
const HOME_REGION: &str = "us-east-1";

fn scope(profile: &Profile) -> AwsScope {
    AwsScope { profile: Some(profile.clone()), region: None }
}

/// Who it is takes no region of its own: where none is set, any of the right partition will do.
async fn ask(identity: &dyn Identity, scope: &AwsScope, home: Option<Region>) -> Result<Principal, Fault> {
    let home = home.or_else(|| HOME_REGION.parse().ok());
    match identity.check(scope).await {
        Err(Fault { kind: FaultKind::InvalidArgument { field }, .. }) if field == "region" => {
            identity.check(&AwsScope { region: home, ..scope.clone() }).await
        }
        answer => answer,
    }
}

fn state(answer: Result<Principal, Fault>, clock: &dyn Clock) -> ProfileState {
    match answer {
        Ok(principal) => ProfileState::Connected { principal, at: clock.wall() },
        Err(fault) => match fault.recovery() {
            Recovery::SignIn | Recovery::FixByUser => ProfileState::Invalid { fault },
            Recovery::Retry => ProfileState::Unknown { fault },
        },
    }
}

/// One that is not in the files as they were read last. They may have it by now; and who names no profile may have
/// credentials of the machine.
async fn unlisted(world: &ProfileWorld, name: Profile, rule: ProfileRule) -> Result<AwsProfile, Fault> {
    let ambient = rule == ProfileRule::Default;
    let asked = if ambient { AwsScope { profile: None, region: None } } else { scope(&name) };
    let answer = ask(world.identity.as_ref(), &asked, None).await;
    match answer {
        Err(fault) if matches!(fault.kind, FaultKind::ProfileNotFound { .. }) => Err(fault),
        answer => Ok(AwsProfile {
            name,
            kind: ambient.then_some(ProfileKind::Ambient),
            region: None,
            sign_in: None,
            account: None,
            role: None,
            state: state(answer, world.clock.as_ref()),
        }),
    }
}

fn not_found(profile: Option<&Profile>, detail: &str) -> Fault {
    let profile = profile.map(ToString::to_string).unwrap_or_default();
    Fault::new(FaultKind::ProfileNotFound { profile }, detail)
}
