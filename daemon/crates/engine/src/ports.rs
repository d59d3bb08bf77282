//! The engine's ports: the only ways in which it reaches the world. Adapters live in other crates; `testing` has a
//! twin of each.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Sink, Stream};
use secrecy::SecretString;
use ssm_session::WsMessage;
use stormtunnel_model::{
    BoundAddress, Candidate, Etag, Event, EventId, Fault, Intent, LocalEndpoint, Principal, Profile, Reason,
    Region, RemoteEndpoint, RequestId, ResolvedTarget, RunTerms, SsmSessionId, Statistics, Target, Timestamp,
    TunnelId, TunnelSpec,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// A future that a port answers with.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Time as the engine sees it: monotonic for durations, wall clock for what people and AWS read.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Monotonic time.
    fn mono(&self) -> Instant;
    /// Wall-clock time.
    fn wall(&self) -> Timestamp;
}

/// Randomness, for seeds of machines.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// 256 fresh random bits.
    fn seed(&self) -> [u8; 32];
}

/// Something that happened to the machine under all tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// It was asleep and is awake again.
    Woke {
        /// For how long.
        slept: Duration,
        /// It woke for itself, to look for mail or to charge, and goes back to sleep soon; nobody is there. Tunnels are
        /// looked after all the same. Whatever shows itself to a person or uses something up must wait for a waking that is
        /// not dark: no browser is opened and no token is rotated. Always false where the system does not tell.
        dark: bool,
    },
    /// Addresses, routes or links are others than before, perhaps.
    NetworkChanged,
    /// The wall clock was set.
    ClockJumped {
        /// By so many milliseconds; negative is back.
        by_ms: i64,
    },
}

/// What happens to the machine. [`Bulletin`](crate::incidents::Bulletin) is where adapters report it.
pub trait Incidents: Send + Sync {
    /// The next incident, when it happens. At most one of each kind waits to be taken: later ones are merged with it.
    /// Cancel-safe.
    fn next(&self) -> PortFuture<'_, Incident>;
}

/// Whose credentials to use, and where: the two things every AWS call of a tunnel needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AwsScope {
    /// Profile as the tunnel has it; absent means the default one.
    pub profile: Option<Profile>,
    /// Region as the tunnel has it; absent means the profile's.
    pub region: Option<Region>,
}

/// What StartSession is to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// Credentials and region.
    pub scope: AwsScope,
    /// The managed node.
    pub node: ResolvedTarget,
    /// Where the node is to connect to.
    pub remote: RemoteEndpoint,
    /// For the audit trail only; absent for a Unix socket.
    pub local_port: Option<u16>,
    /// Likewise: why somebody uses the tunnel.
    pub reason: Option<Reason>,
}

/// A session that may be connected to: the answer of StartSession and of ResumeSession.
///
/// The token is a credential; it has no `Debug`.
pub struct SessionGrant {
    /// The session.
    pub id: SsmSessionId,
    /// Where its data channel is.
    pub stream_url: String,
    /// What opens it.
    pub token: SecretString,
    /// The region that AWS was asked in, for signing.
    pub region: Region,
}

impl fmt::Debug for SessionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold pre-signed parameters: it stays out as well.
        f.debug_struct("SessionGrant")
            .field("id", &self.id)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Answer of ResumeSession.
#[derive(Debug)]
pub enum Resumption {
    /// The session lives; connect with this.
    Granted(SessionGrant),
    /// The session is over: no token, or no such session.
    Gone,
}

/// The Session Manager API.
pub trait SsmApi: Send + Sync {
    /// Opens a session.
    fn start_session<'a>(
        &'a self,
        request: &'a SessionRequest,
    ) -> PortFuture<'a, Result<SessionGrant, Fault>>;
    /// Asks for a new token for a session whose data channel was lost.
    fn resume_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<Resumption, Fault>>;
    /// Whether a node's agent is connected to Session Manager, as far as AWS knows.
    fn is_connected<'a>(
        &'a self,
        scope: &'a AwsScope,
        node: &'a ResolvedTarget,
    ) -> PortFuture<'a, Result<bool, Fault>>;
    /// Ends a session. Ending one that is over already is no fault.
    fn terminate_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<(), Fault>>;
}

/// Knows who AWS takes us for.
pub trait Identity: Send + Sync {
    /// The principal of a scope's credentials. AWS is asked once per credentials; then the answer is at hand. For the
    /// history only: nothing may wait for it.
    fn caller<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Principal, Fault>>;
    /// The same as AWS says it now, whatever it said before. Ends by itself.
    fn check<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Principal, Fault>>;
}

/// What was found for a target, or in a whole region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The region that was searched.
    pub region: Region,
    /// Nodes that run, each once.
    pub candidates: Vec<Candidate>,
    /// What the answer lacks and why, one sentence each; for people.
    pub notes: Vec<String>,
}

/// Finds nodes.
pub trait TargetDirectory: Send + Sync {
    /// What a target stands for at this moment. It is asked only for targets that do not name their node.
    fn candidates<'a>(
        &'a self,
        scope: &'a AwsScope,
        target: &'a Target,
    ) -> PortFuture<'a, Result<Candidates, Fault>>;
    /// Everything that a tunnel could go through.
    fn reachable<'a>(&'a self, scope: &'a AwsScope) -> PortFuture<'a, Result<Candidates, Fault>>;
}

/// A data channel: one WebSocket. Messages come out of the stream and go into the sink; the sink pushes back.
pub trait Channel: Stream<Item = Result<WsMessage, Fault>> + Sink<WsMessage, Error = Fault> + Send {
    /// Whether an arrival wakes who waits for one; it does at first. For a reader that comes by the clock, being woken for
    /// each message is what costs most. What arrived before a watch begins is not told of by it: a read must follow.
    fn set_watched(self: Pin<&mut Self>, watched: bool);
}

/// A data channel behind a pointer.
pub type BoxChannel = Pin<Box<dyn Channel>>;

/// Opens data channels.
pub trait ChannelDialer: Send + Sync {
    /// Checks the grant's URL, connects, signs and upgrades. The open message is the caller's.
    fn dial<'a>(
        &'a self,
        scope: &'a AwsScope,
        grant: &'a SessionGrant,
    ) -> PortFuture<'a, Result<BoxChannel, Fault>>;
}

/// A local connection.
pub trait LocalStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming close a reset (RST), so that the application sees a failure and not an end of file. A Unix socket
    /// knows no reset: there the application sees a failure only if some of what it sent was not read.
    fn reset_on_close(&self);
}

/// A local connection behind a pointer.
pub type BoxLocalStream = Box<dyn LocalStream>;

/// A bound local port, on all addresses that were asked for, or a Unix socket. Dropped, it is free again.
pub trait LocalListener: Send {
    /// The addresses, the one to show first.
    fn addresses(&self) -> Vec<BoundAddress>;
    /// The next connection. Waits out what passes by itself (no descriptors left, aborted connections).
    /// Cancel-safe.
    fn accept(&mut self) -> PortFuture<'_, BoxLocalStream>;
}

/// A local end that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BindError(pub Fault);

/// The local network.
pub trait LocalNetwork: Send + Sync {
    /// Binds a port on every address of a local end; an automatic one is any that is free on all of them. A machine without
    /// IPv6 binds `localhost` on IPv4 alone. Or binds a Unix socket, which only the user may connect to; one that nobody
    /// listens on any more is replaced.
    fn bind(&self, local: LocalEndpoint) -> PortFuture<'_, Result<Box<dyn LocalListener>, BindError>>;
}

/// A tunnel as stored: spec and intent, never state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTunnel {
    /// Its id.
    pub id: TunnelId,
    /// Version of what is stored.
    pub etag: Etag,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it is to be.
    pub spec: TunnelSpec,
    /// What the user wants of it.
    pub intent: Intent,
    /// What it runs with; empty when it is not to run.
    pub terms: RunTerms,
    /// The port that the system chose at the first start of an automatic one.
    pub kept_port: Option<u16>,
    /// The request that created it, so that a repeat is recognised.
    pub request_id: Option<RequestId>,
}

/// An SSM session that is open, so that a daemon started after a crash can end it. Never holds a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The session.
    pub id: SsmSessionId,
    /// Credentials and region that it was opened with.
    pub scope: AwsScope,
    /// The node.
    pub target: Target,
}

/// What is stored at the start.
#[derive(Clone, Debug, Default)]
pub struct StoredState {
    /// All tunnels.
    pub tunnels: Vec<StoredTunnel>,
    /// Sessions that the last daemon left open.
    pub open_sessions: Vec<OpenSession>,
}

/// Where specs and intent are kept. Every method returns after the change is durable.
pub trait TunnelStore: Send + Sync {
    /// Everything stored.
    fn load(&self) -> PortFuture<'_, Result<StoredState, Fault>>;
    /// Adds or replaces a tunnel.
    fn put_tunnel(&self, tunnel: StoredTunnel) -> PortFuture<'_, Result<(), Fault>>;
    /// Forgets a tunnel.
    fn delete_tunnel(&self, id: TunnelId) -> PortFuture<'_, Result<(), Fault>>;
    /// Notes an open session.
    fn put_session(&self, session: OpenSession) -> PortFuture<'_, Result<(), Fault>>;
    /// Forgets an ended session.
    fn delete_session(&self, id: SsmSessionId) -> PortFuture<'_, Result<(), Fault>>;
}

/// The history at the start.
#[derive(Clone, Debug, Default)]
pub struct StoredHistory {
    /// The newest event.
    pub newest: Option<EventId>,
    /// What tunnels carried until now.
    pub statistics: BTreeMap<TunnelId, Statistics>,
}

/// What is to be added to the history.
#[derive(Clone, Debug, Default)]
pub struct HistoryBatch {
    /// Events, oldest first.
    pub events: Vec<Arc<Event>>,
    /// The figures of tunnels from now on, in place of those stored.
    pub statistics: Vec<(TunnelId, Statistics)>,
}

impl HistoryBatch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.statistics.is_empty()
    }
}

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Of these tunnels; empty means all. The daemon's own events are always among them.
    pub tunnels: Vec<TunnelId>,
    /// No older ones.
    pub since: Option<Timestamp>,
    /// Only events after this one.
    pub after: Option<EventId>,
    /// Only events before this one.
    pub before: Option<EventId>,
    /// Most events.
    pub limit: usize,
    /// Which of them when there are more.
    pub end: QueryEnd,
}

/// The end of the history from which a query with a limit is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryEnd {
    /// The newest events.
    #[default]
    Newest,
    /// The oldest events.
    Oldest,
}

impl EventQuery {
    /// Whether an event is among those wanted, whatever the limit.
    pub fn admits(&self, event: &Event) -> bool {
        let of_tunnel = match &event.subject {
            Some(subject) => self.tunnels.is_empty() || self.tunnels.contains(&subject.tunnel),
            None => true,
        };
        of_tunnel
            && self.since.is_none_or(|since| event.at >= since)
            && self.after.is_none_or(|after| event.id > after)
            && self.before.is_none_or(|before| event.id < before)
    }
}

/// Answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEvents {
    /// What was found, oldest first.
    pub events: Vec<Event>,
    /// The oldest event that is stored at all: what came before it is forgotten.
    pub oldest: Option<EventId>,
}

/// Where events and statistics are kept, as many as its retention allows. Only the history waits for it, never a tunnel.
pub trait HistoryStore: Send + Sync {
    /// What the last daemon left.
    fn load_history(&self) -> PortFuture<'_, Result<StoredHistory, Fault>>;
    /// Adds events and figures, all of them or none. Events that are stored already stay as they are, and figures of
    /// tunnels that are gone are left out.
    fn add_history(&self, batch: HistoryBatch) -> PortFuture<'_, Result<(), Fault>>;
    /// Stored events.
    fn events(&self, query: EventQuery) -> PortFuture<'_, Result<StoredEvents, Fault>>;
    /// The tunnel that had this name, or has this id, in the newest event that tells of one.
    fn find_tunnel(&self, name_or_id: String) -> PortFuture<'_, Result<Option<TunnelId>, Fault>>;
}
