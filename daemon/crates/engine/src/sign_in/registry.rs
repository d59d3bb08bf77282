//! All sign-ins: an actor each, kept in step with what is configured, and a board that shows them.
//!
//! One task follows the configuration. A sign-in with another start URL, region or scopes is another sign-in: its actor ends,
//! and a new one begins. One that somebody logged in to by its address alone stays until somebody signs out of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use stormtunnel_model::{
    Epoch, EventKind, Fault, LoginSurroundings, LoginWishes, Revision, SignIn, SignInActivity, SignInChoice,
    SignInName,
};
use tokio::sync::{mpsc, watch};

use super::actor::SignInHandle;
use super::board::SignInWatcher;
use super::directory::{self, ConfiguredSignIn, ConfiguredSignIns, not_found};
use super::events::Recorder;
use super::flow::choose;
use super::machine::LoginBy;
use super::policy::SignInPolicy;
use super::ports::{AccountsApi, ConfigFile, SignInPorts, SignInSite};
use super::running::RunningLogin;
use crate::board::Board;
use crate::ports::Incident;
use crate::tasks::{Task, Tasks, TasksClosed};

/// What sign-ins live on.
#[derive(Clone)]
pub struct SignInWorld {
    /// The world. Its observer is told what the history and the persons are told.
    pub ports: SignInPorts,
    /// What a person may use.
    pub accounts: Arc<dyn AccountsApi>,
    /// Where sign-ins and profiles are configured.
    pub config: Arc<dyn ConfigFile>,
    /// Which sign-ins are configured.
    pub configured: watch::Receiver<Arc<ConfiguredSignIns>>,
    /// The settings.
    pub policy: watch::Receiver<SignInPolicy>,
    /// Where their tasks run. Renewals that are under way when these are to end are waited for.
    pub tasks: Tasks,
}

/// A login that somebody asks for.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// To what.
    pub sign_in: SignInChoice,
    /// Who.
    pub by: LoginBy,
    /// What the person asked for.
    pub wishes: LoginWishes,
    /// Where the person sits.
    pub surroundings: LoginSurroundings,
}

/// All sign-ins. Cheap to clone.
#[derive(Clone)]
pub struct SignIns(Arc<Shared>);

struct Shared {
    /// Absent in a daemon that cannot sign in.
    world: Option<SignInWorld>,
    entries: Mutex<BTreeMap<SignInName, Entry>>,
    board: Board<SignIn>,
    /// What happened, until the history takes it.
    happened: tokio::sync::Mutex<mpsc::Receiver<EventKind>>,
}

struct Entry {
    handle: SignInHandle,
    known: ConfiguredSignIn,
    /// By the AWS files, and not only by somebody who logged in.
    configured: bool,
    /// Shows what the actor publishes; ends with it.
    shows: Task<()>,
}

impl fmt::Debug for SignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIns").finish_non_exhaustive()
    }
}

impl SignIns {
    /// None, and no way to sign in.
    pub fn none() -> Self {
        let (_nobody, happened) = mpsc::channel(1);
        Self::new(None, Epoch(0), happened)
    }

    /// Those that are configured, from now on.
    ///
    /// # Errors
    /// [`TasksClosed`] while the daemon stops.
    pub fn start(mut world: SignInWorld) -> Result<Self, TasksClosed> {
        let seed = world.ports.entropy.seed();
        let epoch = Epoch(u64::from_be_bytes(*seed.first_chunk().unwrap_or(&[0; 8])));
        let (recorder, happened) = Recorder::new(Arc::clone(&world.ports.observer));
        world.ports.observer = Arc::new(recorder);
        let (tasks, mut configured) = (world.tasks.clone(), world.configured.clone());
        let first = Arc::clone(&configured.borrow_and_update());
        let sign_ins = Self::new(Some(world.clone()), epoch, happened);
        // Whoever gets these sign-ins finds all of them.
        first.values().try_for_each(|one| sign_ins.add(&world, one.clone(), true).map(drop))?;
        tasks.spawn("sign-ins", sign_ins.clone().follow(configured, tasks.clone()))?;
        Ok(sign_ins)
    }

    fn new(world: Option<SignInWorld>, epoch: Epoch, happened: mpsc::Receiver<EventKind>) -> Self {
        let happened = tokio::sync::Mutex::new(happened);
        Self(Arc::new(Shared { world, entries: Mutex::default(), board: Board::new(epoch), happened }))
    }

    /// All of them, ordered by name.
    pub fn list(&self) -> Vec<SignIn> {
        self.0.board.list()
    }

    /// The sign-ins as they are, then each change. With a `since` of this daemon life only the changes, as far as they are
    /// remembered. Of a sign-in that changes faster than a watcher reads only the latest state is told.
    pub fn watch(&self, since: Option<Revision>) -> SignInWatcher {
        self.0.board.watch(since)
    }

    /// The sign-in of that name.
    pub fn get(&self, name: &SignInName) -> Option<SignInHandle> {
        self.entries().get(name).map(|entry| entry.handle.clone())
    }

    /// Has somebody sign in. Where the sign-in is configured nowhere, it is one from now on.
    ///
    /// # Errors
    /// `SignInNotFound`, `InvalidArgument` where several may be meant, `ShuttingDown`.
    pub fn login(&self, request: &LoginRequest) -> Result<RunningLogin, Fault> {
        let LoginRequest { sign_in, by, wishes, surroundings } = request;
        let handle = match (self.find(sign_in)?, sign_in) {
            (Some(handle), _) => handle,
            (None, choice) => self.add_unconfigured(choice)?,
        };
        let name = handle.name();
        let shown = self.0.board.get(name).ok_or_else(|| not_found(name.to_string(), String::new()))?;
        let plan = choose(name, *surroundings, wishes);
        Ok(RunningLogin::new(handle, shown, *by, plan))
    }

    /// Gives up the login that runs, for everybody who waits for it.
    ///
    /// # Errors
    /// `SignInNotFound`, `InvalidArgument` where several may be meant.
    pub async fn cancel_login(&self, choice: &SignInChoice) -> Result<(), Fault> {
        self.existing(choice)?.cancel_login().await;
        Ok(())
    }

    /// Signs out and answers of what. Tokens and credentials are forgotten when this returns.
    ///
    /// # Errors
    /// `SignInNotFound`, `InvalidArgument` where several may be meant.
    pub async fn logout(&self, choice: &SignInChoice) -> Result<SignInName, Fault> {
        let handle = self.existing(choice)?;
        self.sign_out(&handle).await?;
        Ok(handle.name().clone())
    }

    /// The same with all of them.
    ///
    /// # Errors
    /// Why something is left of one of them; the others are signed out all the same.
    pub async fn logout_all(&self) -> Result<Vec<SignInName>, Fault> {
        let handles = self.handles();
        let ends = join_all(handles.iter().map(|handle| self.sign_out(handle))).await;
        ends.into_iter().collect::<Result<(), Fault>>()?;
        Ok(handles.iter().map(|handle| handle.name().clone()).collect())
    }

    /// Renews the token now and answers the sign-in afterwards.
    ///
    /// # Errors
    /// Why it was not; `SignInNotFound`, `InvalidArgument` where several may be meant.
    pub async fn refresh(&self, choice: &SignInChoice) -> Result<SignIn, Fault> {
        let handle = self.existing(choice)?;
        handle.refresh().await?;
        let name = handle.name();
        let shown = self.0.board.get(name).ok_or_else(|| not_found(name.to_string(), String::new()))?;
        let mut status = handle.watch();
        // The outcome is told a moment before the state that comes of it.
        let renewed = status.wait_for(|status| status.activity != Some(SignInActivity::Renewing)).await;
        let status = renewed.map_or_else(|_stopped| shown.status.clone(), |status| status.clone());
        Ok(SignIn { status, ..shown })
    }

    /// The shared files changed, or may have.
    pub async fn shared_changed(&self) {
        join_all(self.handles().iter().map(SignInHandle::shared_changed)).await;
    }

    /// Something happened to the machine.
    pub async fn disturbed(&self, incident: Incident) {
        join_all(self.handles().iter().map(|handle| handle.disturbed(incident))).await;
    }

    /// The next event for the history. For one listener. Ends with the sign-ins.
    pub(crate) async fn happened(&self) -> Option<EventKind> {
        self.0.happened.lock().await.recv().await
    }

    /// Ends all watchers.
    pub(crate) fn close(&self) {
        self.0.board.close();
    }

    async fn sign_out(&self, handle: &SignInHandle) -> Result<(), Fault> {
        handle.logout().await?;
        let unconfigured = self.entries().get(handle.name()).is_some_and(|entry| !entry.configured);
        if unconfigured {
            self.remove(handle.name()).await;
        }
        Ok(())
    }

    fn find(&self, choice: &SignInChoice) -> Result<Option<SignInHandle>, Fault> {
        let entries = self.entries();
        let known = entries.iter().map(|(name, entry)| (name.clone(), entry.known.clone())).collect();
        let name = directory::find(choice, &known)?;
        Ok(name.and_then(|name| entries.get(&name)).map(|entry| entry.handle.clone()))
    }

    /// What the files say of the sign-in of that name.
    pub(super) fn known(&self, name: &SignInName) -> Option<ConfiguredSignIn> {
        self.entries().get(name).map(|entry| entry.known.clone())
    }

    /// What all of them live on.
    pub(super) fn world(&self, choice: &SignInChoice) -> Result<&SignInWorld, Fault> {
        self.0.world.as_ref().ok_or_else(|| not_at(choice, "this daemon cannot sign in"))
    }

    pub(super) fn existing(&self, choice: &SignInChoice) -> Result<SignInHandle, Fault> {
        self.find(choice)?.ok_or_else(|| not_at(choice, "nobody logged in there"))
    }

    fn add_unconfigured(&self, choice: &SignInChoice) -> Result<SignInHandle, Fault> {
        let SignInChoice::At { start_url, region } = choice else { return Err(not_at(choice, "")) };
        let world = self.world(choice)?;
        let site = SignInSite {
            name: start_url.clone(),
            start_url: start_url.to_string(),
            region: region.clone(),
            scopes: Vec::new(),
        };
        let known = ConfiguredSignIn { site, profiles: Vec::new() };
        self.add(world, known, false).map_err(|error| Fault::internal(error.to_string()))
    }

    /// Keeps in step with what is configured, until the daemon ends.
    async fn follow(self, mut configured: watch::Receiver<Arc<ConfiguredSignIns>>, tasks: Tasks) {
        let steps = async {
            while configured.changed().await.is_ok() {
                let wanted = Arc::clone(&configured.borrow_and_update());
                self.reconcile(&wanted).await;
            }
        };
        tokio::select! {
            biased;
            () = tasks.cancelled().cancelled() => {}
            () = steps => {}
        }
    }

    async fn reconcile(&self, wanted: &ConfiguredSignIns) {
        let Some(world) = &self.0.world else { return };
        let is_over = |(name, entry): &(&SignInName, &Entry)| match wanted.get(*name) {
            Some(wanted) => wanted.site != entry.known.site,
            None => entry.configured,
        };
        let over: Vec<SignInName> =
            self.entries().iter().filter(is_over).map(|(name, _)| name.clone()).collect();
        join_all(over.iter().map(|name| self.remove(name))).await;
        for one in wanted.values() {
            if !self.keep(one)
                && let Err(error) = self.add(world, one.clone(), true)
            {
                tracing::debug!(%error, "a sign-in is not followed any more");
            }
        }
    }

    /// Shows a sign-in that there is with the profiles that it has now.
    fn keep(&self, wanted: &ConfiguredSignIn) -> bool {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&wanted.site.name) else { return false };
        entry.known = wanted.clone();
        entry.configured = true;
        self.0.board.put(shown(wanted, &entry.handle));
        true
    }

    fn add(
        &self,
        world: &SignInWorld,
        known: ConfiguredSignIn,
        configured: bool,
    ) -> Result<SignInHandle, TasksClosed> {
        let SignInWorld { ports, policy, tasks, .. } = world;
        let mut entries = self.entries();
        let name = known.site.name.clone();
        // Somebody may have been faster.
        if let Some(entry) = entries.get(&name) {
            return Ok(entry.handle.clone());
        }
        let handle = SignInHandle::start(known.site.clone(), ports.clone(), policy.clone(), tasks)?;
        self.0.board.put(shown(&known, &handle));
        let (board, mut status, shown) = (self.0.board.clone(), handle.watch(), name.clone());
        let shows = tasks.spawn("show sign-in", async move {
            while status.changed().await.is_ok() {
                let status = status.borrow_and_update().clone();
                board.update(&shown, |sign_in| sign_in.status = status);
            }
        })?;
        entries.insert(name, Entry { handle: handle.clone(), known, configured, shows });
        Ok(handle)
    }

    async fn remove(&self, name: &SignInName) {
        let removed = self.entries().remove(name);
        let Some(Entry { handle, shows, .. }) = removed else { return };
        handle.end().await;
        // Another sign-in may have that name from now on.
        if let Some(world) = &self.0.world {
            world.ports.observer.forget_credentials(name);
        }
        let _ended = shows.await;
        // Somebody may have logged in there again.
        if !self.entries().contains_key(name) {
            self.0.board.remove(name);
        }
    }

    fn handles(&self) -> Vec<SignInHandle> {
        self.entries().values().map(|entry| entry.handle.clone()).collect()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<SignInName, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(known: &ConfiguredSignIn, handle: &SignInHandle) -> SignIn {
    let SignInSite { name, start_url, region, .. } = known.site.clone();
    let status = handle.watch().borrow().clone();
    SignIn { name, start_url, region, profiles: known.profiles.clone(), status }
}

/// Nothing is known at that address.
fn not_at(choice: &SignInChoice, detail: &str) -> Fault {
    let sign_in = match choice {
        SignInChoice::At { start_url: name, .. } | SignInChoice::Named(name) => name.to_string(),
        SignInChoice::Only | SignInChoice::OfProfile(_) => String::new(),
    };
    not_found(sign_in, detail.to_owned())
}
