//! All tunnels: their specs and intent, and one actor each.
//!
//! One task makes every change, so changes never race. It never waits for a tunnel: what takes time (a stop) is
//! awaited by a task of the call. An actor that fails is replaced; the others do not notice.

mod intent;
mod signed_in;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use stormtunnel_model::{
    Etag, EventKind, Fault, FaultKind, Intent, RequestId, RunTerms, StartOptions, Tunnel, TunnelId,
    TunnelSpec,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::handle::{Command, Reply, TunnelResult, Update, Updated, Verb};
use crate::history::ledger::Ledger;
use crate::incidents::{Disturbance, told::Told};
use crate::ports::{OpenSession, StoredTunnel};
use crate::publish::{Meter, stopped_tunnel};
use crate::tasks::TaskFailed;
use crate::tunnel::about::About;
use crate::tunnel::actor::{Actor, ActorParts};
use crate::tunnel::binding::Binding;
use crate::tunnel::chronicle::subject;
use crate::tunnel::context::Context;
use crate::tunnel::machine::{self, PROVED_AFTER, STOP_WAIT, TunnelMachine};
use crate::tunnel::mailbox::{MAILBOX_CAPACITY, Message, Order, PortChosen, Wanted};
use crate::tunnel::rules::{check_confirmed, check_port, check_spec, kept_port_after, runs, terms_after};
use crate::tunnel::session_task::see_out;

/// Ports that wait to be stored: one per tunnel at the very first start, so a moment's worth is enough.
const PORTS_CHOSEN_CAPACITY: usize = 64;
/// How long a call waits for a tunnel to stop. The machine gives up a little earlier.
const STOP_BOUND: Duration = STOP_WAIT.saturating_add(Duration::from_secs(2));

/// The supervisor's state.
pub(crate) struct Supervisor {
    context: Arc<Context>,
    tunnels: BTreeMap<TunnelId, Entry>,
    commands: mpsc::Receiver<Command>,
    disturbances: mpsc::Receiver<Disturbance>,
    told: Told,
    ports_chosen: (mpsc::Sender<PortChosen>, mpsc::Receiver<PortChosen>),
    /// When to look for tunnels whose time is over; absent while no time will be.
    look_at: Option<tokio::time::Instant>,
    /// Actors, until they end.
    actors: FuturesUnordered<ActorEnd>,
    stop: CancellationToken,
}

/// Ends with its actor. `Sync`, so that the supervisor can lend itself across an await.
type ActorEnd = Pin<Box<dyn Future<Output = (TunnelId, Result<(), TaskFailed>)> + Send + Sync>>;

struct Entry {
    stored: StoredTunnel,
    mailbox: mpsc::Sender<Message>,
    meter: Arc<Meter>,
    ledger: Arc<Ledger>,
    /// Failures of its actor in a row, and the last one.
    crashes: u32,
    crashed_at: Option<Instant>,
    /// Set by a deletion: who waits for it.
    deleting: Option<Vec<oneshot::Sender<Tunnel>>>,
}

impl Entry {
    fn wanted(&self) -> Wanted {
        Wanted::of(&self.stored)
    }
}

impl Supervisor {
    pub(crate) fn new(
        context: Arc<Context>,
        commands: mpsc::Receiver<Command>,
        disturbances: mpsc::Receiver<Disturbance>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            context,
            tunnels: BTreeMap::new(),
            commands,
            disturbances,
            told: Told::default(),
            ports_chosen: mpsc::channel(PORTS_CHOSEN_CAPACITY),
            look_at: None,
            actors: FuturesUnordered::new(),
            stop,
        }
    }

    /// Puts everything stored on the board, then starts what is to run. How many tunnels start at a time is bounded
    /// where it matters, at StartSession (see `politeness`).
    pub(crate) async fn restore(&mut self, tunnels: Vec<StoredTunnel>, open_sessions: Vec<OpenSession>) {
        self.end_left_sessions(open_sessions);
        for stored in tunnels {
            self.add(stored);
        }
        // Nobody is asked to confirm: the intent is stored. But a time may have been over while no daemon ran.
        self.end_overdue().await;
        let now = self.context.now().wall;
        let running = self.stored().filter(|stored| runs(stored, now));
        let running: Vec<TunnelId> = running.map(|stored| stored.id).collect();
        for id in running {
            self.order(id, machine::Command::Run).await;
        }
    }

    /// Sessions that the last daemon could not end lead into somebody's network: they are ended now.
    fn end_left_sessions(&self, left: Vec<OpenSession>) {
        if left.is_empty() {
            return;
        }
        tracing::info!(sessions = left.len(), "ending sessions that the last daemon left open");
        for record in left {
            let (context, session) = (Arc::clone(&self.context), record.id.clone());
            // Whose it was is not known any more.
            let span = move || tracing::error_span!(parent: None, "session", %session);
            let ending = async move { see_out(&context, &record, false).await };
            let _stopping = self.context.tasks.spawn_within("end left session", span, ending);
        }
    }

    /// Serves until told to stop, then stops all tunnels.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            let look_at = self.look_at;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(chosen) = self.ports_chosen.1.recv() => self.keep_port(chosen).await,
                Some((id, ended)) = self.actors.next() => self.on_actor_ended(id, ended),
                Some(command) = self.commands.recv() => self.on_command(command).await,
                Some(disturbance) = self.disturbances.recv() => self.on_disturbance(disturbance).await,
                () = sleep_until(look_at) => self.end_overdue().await,
            }
        }
        self.commands.close();
        // Whoever asks now is told that the daemon stops.
        while self.commands.recv().await.is_some() {}
        self.stop_all().await;
    }

    async fn on_disturbance(&mut self, disturbance: Disturbance) {
        let now = self.context.now().mono;
        self.told.tell(disturbance, &self.context.history, self.tunnels.len(), now);
        for incident in disturbance.incidents() {
            self.context.ports.sign_ins.disturbed(incident).await;
            self.context.ports.profiles.disturbed(incident);
        }
        self.end_overdue().await;
        for entry in self.tunnels.values() {
            // An actor that just failed gets a successor, which tries again by itself.
            let _failed = entry.mailbox.send(Message::Disturbed).await;
        }
    }

    async fn stop_all(&mut self) {
        let ids: Vec<TunnelId> = self.tunnels.keys().copied().collect();
        let mut stopped = Vec::new();
        for id in ids {
            stopped.extend(self.order(id, machine::Command::Stop).await);
        }
        let all = join_all(stopped);
        if tokio::time::timeout(STOP_BOUND, all).await.is_err() {
            tracing::warn!("some tunnels did not stop in time");
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Create { request_id, spec, start, reply } => {
                match self.create(request_id, spec, start).await {
                    Ok((id, done)) => self.answer_tunnel(id, done, reply),
                    Err(fault) => drop(reply.send(Err(fault))),
                }
            }
            Command::Update { change, reply } => self.update(change, reply).await,
            Command::Act { verb, tunnels, reply } => self.act(&verb, tunnels, reply).await,
            Command::SignedIn(sign_in) => self.go_on(&sign_in).await,
            Command::ProfileEdited(profile) => self.try_edited(&profile).await,
            Command::WayChanged => self.try_other_way().await,
        }
    }

    async fn create(
        &mut self,
        request_id: Option<RequestId>,
        spec: TunnelSpec,
        start: bool,
    ) -> Result<(TunnelId, Option<oneshot::Receiver<()>>), Fault> {
        if let Some(id) = self.requested_before(request_id.as_ref()) {
            return Ok((id, None));
        }
        let options = StartOptions::default();
        if start {
            check_confirmed(&spec, &options)?;
        }
        if let Some(id) = self.same_tunnel(&spec)? {
            let done =
                if start { self.set_running(id, machine::Command::Run, &options).await? } else { None };
            return Ok((id, done));
        }
        check_spec(&spec)?;
        check_port(&spec.local, None, self.stored())?;
        let created_at = self.context.now().wall;
        let random = self.context.ports.entropy.seed();
        let id = TunnelId::new(created_at, random.first_chunk().unwrap_or(&[0; 10]));
        let (intent, terms) = (Intent::Stop, RunTerms::default());
        let mut stored =
            StoredTunnel { id, etag: Etag(1), created_at, spec, intent, terms, kept_port: None, request_id };
        if start {
            stored.terms = terms_after(&stored, &options, true, created_at);
            stored.intent = Intent::Run;
        }
        self.context.ports.store.put_tunnel(stored.clone()).await?;
        self.record(&stored, EventKind::Created);
        if start {
            self.record(&stored, EventKind::IntentChanged { intent: stored.intent });
        }
        self.add(stored);
        self.plan_look();
        let done = if start { self.order(id, machine::Command::Run).await } else { None };
        Ok((id, done))
    }

    /// The tunnel that this very request made. It is left as it is: the repeat may be older than a later change.
    fn requested_before(&self, request_id: Option<&RequestId>) -> Option<TunnelId> {
        request_id?;
        self.stored().find(|stored| stored.request_id.as_ref() == request_id).map(|stored| stored.id)
    }

    /// The tunnel of that name, if it has the same spec.
    fn same_tunnel(&self, spec: &TunnelSpec) -> Result<Option<TunnelId>, Fault> {
        let Some(entry) = self.tunnels.values().find(|entry| entry.stored.spec.name == spec.name) else {
            return Ok(None);
        };
        if entry.deleting.is_some() || entry.stored.spec != *spec {
            let detail =
                if entry.deleting.is_some() { "it is being deleted; try again in a moment" } else { "" };
            return Err(Fault::new(FaultKind::TunnelExists { tunnel: spec.name.to_string() }, detail));
        }
        Ok(Some(entry.stored.id))
    }

    async fn update(&mut self, change: Update, reply: Reply<Result<Updated, Fault>>) {
        let (id, updated) = match self.plan_update(&change) {
            Ok(planned) => planned,
            Err(fault) => return drop(reply.send(Err(fault))),
        };
        if change.validate_only || updated.tunnel.spec == self.tunnels[&id].stored.spec {
            return drop(reply.send(Ok(updated)));
        }
        let Updated { tunnel, reconnects, rebinds } = updated;
        let mut stored = self.tunnels[&id].stored.clone();
        let command = machine::Command::SpecChanged {
            session: stored.spec.needs_new_session(&tunnel.spec),
            listener: stored.spec.needs_new_listener(&tunnel.spec),
        };
        stored.kept_port = kept_port_after(&stored, &tunnel.spec, self.stored());
        let fields = stored.spec.changed_fields(&tunnel.spec).into_iter().map(str::to_owned).collect();
        stored.spec = tunnel.spec;
        stored.etag = Etag(stored.etag.0 + 1);
        if let Err(fault) = self.put(stored).await {
            return drop(reply.send(Err(fault)));
        }
        self.record(&self.tunnels[&id].stored, EventKind::Changed { fields });
        let done = self.order(id, command).await;
        let context = Arc::clone(&self.context);
        self.in_background(async move {
            wait_for(done).await;
            let tunnel = context.publisher.tunnel(id).ok_or_else(|| not_found(&id.to_string()));
            drop(reply.send(tunnel.map(|tunnel| Updated { tunnel, reconnects, rebinds })));
        });
    }

    /// Checks a change and says what it would do.
    fn plan_update(&self, change: &Update) -> Result<(TunnelId, Updated), Fault> {
        let id = self.find(&change.tunnel)?;
        let stored = &self.tunnels[&id].stored;
        if change.etag.is_some_and(|etag| etag != stored.etag) {
            return Err(Fault::new(FaultKind::EtagMismatch { tunnel: stored.spec.name.to_string() }, ""));
        }
        let spec = stored.spec.patched(&change.patch);
        check_spec(&spec)?;
        let same_name = |other: &StoredTunnel| other.id != id && other.spec.name == spec.name;
        if self.tunnels.values().any(|entry| same_name(&entry.stored)) {
            return Err(Fault::new(FaultKind::TunnelExists { tunnel: spec.name.to_string() }, ""));
        }
        check_port(&spec.local, Some(id), self.stored())?;
        let runs = stored.intent == Intent::Run;
        let reconnects = runs && stored.spec.needs_new_session(&spec);
        let rebinds = runs && stored.spec.needs_new_listener(&spec);
        let mut tunnel = self.context.publisher.tunnel(id).ok_or_else(|| not_found(&change.tunnel))?;
        tunnel.spec = spec;
        Ok((id, Updated { tunnel, reconnects, rebinds }))
    }

    async fn act(&mut self, verb: &Verb, tunnels: Vec<String>, reply: Reply<Vec<TunnelResult>>) {
        if matches!(verb, Verb::Start(_) | Verb::Restart(_)) {
            self.check_profiles_of(&tunnels);
        }
        let mut pending: Vec<(String, Result<BoxFuture<'static, Tunnel>, Fault>)> = Vec::new();
        for requested in tunnels {
            let outcome = match self.find(&requested) {
                Ok(id) => self.act_on(verb, id).await,
                Err(fault) => Err(fault),
            };
            pending.push((requested, outcome));
        }
        self.in_background(async move {
            let results = pending.into_iter().map(|(requested, outcome)| async move {
                let outcome = match outcome {
                    Ok(tunnel) => Ok(tunnel.await),
                    Err(fault) => Err(fault),
                };
                TunnelResult { requested, outcome }
            });
            drop(reply.send(join_all(results).await));
        });
    }

    /// Makes the change; the answer's future gives the tunnel once the change took effect.
    async fn act_on(&mut self, verb: &Verb, id: TunnelId) -> Result<BoxFuture<'static, Tunnel>, Fault> {
        let done = match verb {
            Verb::Start(options) => self.set_running(id, machine::Command::Run, options).await?,
            Verb::Restart(options) => self.set_running(id, machine::Command::Restart, options).await?,
            Verb::Stop => self.set_stopped(id).await?,
            Verb::Delete => return self.delete(id).await,
        };
        let context = Arc::clone(&self.context);
        let last = self.shown(id);
        Ok(async move {
            wait_for(done).await;
            context.publisher.tunnel(id).unwrap_or(last)
        }
        .boxed())
    }

    async fn delete(&mut self, id: TunnelId) -> Result<BoxFuture<'static, Tunnel>, Fault> {
        self.context.ports.store.delete_tunnel(id).await?;
        self.record(&self.tunnels[&id].stored, EventKind::Deleted);
        let last = self.shown(id);
        let (deleted, gone) = oneshot::channel();
        if let Some(entry) = self.tunnels.get_mut(&id) {
            entry.deleting.get_or_insert_default().push(deleted);
        }
        drop(self.order(id, machine::Command::Delete).await);
        let answer = async move {
            let gone = tokio::time::timeout(STOP_BOUND, gone).await;
            gone.ok().and_then(Result::ok).unwrap_or(last)
        };
        Ok(answer.boxed())
    }

    /// Stores and publishes a change.
    async fn put(&mut self, stored: StoredTunnel) -> Result<(), Fault> {
        self.context.ports.store.put_tunnel(stored.clone()).await?;
        self.context.publisher.set_stored(&stored);
        if let Some(entry) = self.tunnels.get_mut(&stored.id) {
            entry.stored = stored;
        }
        Ok(())
    }

    fn record(&self, stored: &StoredTunnel, kind: EventKind) {
        self.context.history.record(Some(subject(stored.id, &stored.spec)), kind);
    }

    fn add(&mut self, stored: StoredTunnel) {
        let meter = Arc::new(Meter::default());
        self.context.publisher.add(stopped_tunnel(&stored, self.context.now().wall), Arc::clone(&meter));
        let machine = TunnelMachine::new(self.context.ports.entropy.seed());
        let wanted = Wanted::of(&stored);
        let ledger = self.context.history.open_ledger(stored.id, Arc::clone(&meter));
        let figures = (Arc::clone(&meter), Arc::clone(&ledger));
        let mailbox = self.spawn_actor(stored.id, wanted, machine, figures);
        let entry = Entry { mailbox, meter, ledger, crashes: 0, crashed_at: None, deleting: None, stored };
        self.tunnels.insert(entry.stored.id, entry);
    }

    fn spawn_actor(
        &self,
        id: TunnelId,
        wanted: Wanted,
        machine: TunnelMachine,
        (meter, ledger): (Arc<Meter>, Arc<Ledger>),
    ) -> mpsc::Sender<Message> {
        let (sender, mailbox) = mpsc::channel(MAILBOX_CAPACITY);
        let (context, chosen) = (Arc::clone(&self.context), self.ports_chosen.0.clone());
        let binding = Binding { context, tunnel: id, chosen };
        let about = About::tunnel(id, wanted.spec.name.clone());
        let span = {
            let about = about.clone();
            move || about.span()
        };
        let parts = ActorParts {
            context: Arc::clone(&self.context),
            id,
            about,
            wanted,
            meter,
            ledger,
            sender: sender.clone(),
            mailbox,
            binding,
        };
        if let Ok(task) = self.context.tasks.spawn_within("tunnel", span, Actor::new(machine, parts).run()) {
            self.actors.push(Box::pin(task.map(move |ended| (id, ended))));
        }
        sender
    }

    /// An actor ends when its tunnel is deleted. Any other end is a failure, and it gets a successor.
    fn on_actor_ended(&mut self, id: TunnelId, ended: Result<(), TaskFailed>) {
        let Some(entry) = self.tunnels.get_mut(&id) else { return };
        if let Some(waiting) = entry.deleting.take() {
            self.tunnels.remove(&id);
            self.context.history.close_ledger(id);
            if let Some(last) = self.context.publisher.remove(id) {
                waiting.into_iter().for_each(|waiter| drop(waiter.send(last.clone())));
            }
            return;
        }
        let Err(failed) = ended else { return };
        let now = self.context.now();
        let long_ago = |at: Instant| now.mono.saturating_duration_since(at) > PROVED_AFTER;
        entry.crashes = if entry.crashed_at.is_none_or(long_ago) { 1 } else { entry.crashes + 1 };
        entry.crashed_at = Some(now.mono);
        let (crashes, wanted) = (entry.crashes, entry.wanted());
        let figures = (Arc::clone(&entry.meter), Arc::clone(&entry.ledger));
        let seed = self.context.ports.entropy.seed();
        let machine = if runs(&entry.stored, now.wall) {
            TunnelMachine::crashed(now, seed, crashes, Fault::internal(failed.message))
        } else {
            TunnelMachine::new(seed)
        };
        let mailbox = self.spawn_actor(id, wanted, machine, figures);
        if let Some(entry) = self.tunnels.get_mut(&id) {
            entry.mailbox = mailbox;
        }
    }

    /// Sends an order; the answer fires when it is carried out.
    async fn order(&self, id: TunnelId, command: machine::Command) -> Option<oneshot::Receiver<()>> {
        let entry = self.tunnels.get(&id)?;
        let (done, carried_out) = oneshot::channel();
        let order = Order { command, wanted: entry.wanted(), done: Some(done) };
        // An actor that just failed gets a successor, which follows the stored intent.
        entry.mailbox.send(Message::Order(Box::new(order))).await.ok()?;
        Some(carried_out)
    }

    fn find(&self, name_or_id: &str) -> Result<TunnelId, Fault> {
        let by_name = self.tunnels.values().find(|entry| entry.stored.spec.name.as_str() == name_or_id);
        let by_id = || self.tunnels.get(&name_or_id.parse().ok()?);
        let entry = by_name.or_else(by_id).filter(|entry| entry.deleting.is_none());
        entry.map(|entry| entry.stored.id).ok_or_else(|| not_found(name_or_id))
    }

    fn stored(&self) -> impl Iterator<Item = &StoredTunnel> {
        self.tunnels.values().filter(|entry| entry.deleting.is_none()).map(|entry| &entry.stored)
    }

    fn shown(&self, id: TunnelId) -> Tunnel {
        let stopped = || stopped_tunnel(&self.tunnels[&id].stored, self.context.now().wall);
        self.context.publisher.tunnel(id).unwrap_or_else(stopped)
    }

    fn answer_tunnel(
        &self,
        id: TunnelId,
        done: Option<oneshot::Receiver<()>>,
        reply: Reply<Result<Tunnel, Fault>>,
    ) {
        let context = Arc::clone(&self.context);
        self.in_background(async move {
            wait_for(done).await;
            let tunnel = context.publisher.tunnel(id).ok_or_else(|| not_found(&id.to_string()));
            drop(reply.send(tunnel));
        });
    }

    fn in_background(&self, answer: impl Future<Output = ()> + Send + 'static) {
        // Refused only while the daemon stops: the caller then learns that from its dropped reply.
        let _stopping = self.context.tasks.spawn("answer", answer);
    }
}

/// Never, without a time.
async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until an order is carried out. An actor that fails meanwhile, or takes too long, is not waited for.
async fn wait_for(done: Option<oneshot::Receiver<()>>) {
    if let Some(done) = done {
        let _carried_out = tokio::time::timeout(STOP_BOUND, done).await;
    }
}

fn not_found(tunnel: &str) -> Fault {
    Fault::new(FaultKind::TunnelNotFound { tunnel: tunnel.to_owned() }, "")
}
