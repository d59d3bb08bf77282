//! Session Manager, message gateway and agents in memory: the far side of the engine, under the test's control.

mod agent;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::SecretString;
use stormtunnel_engine::ports::{
    AwsScope, BoxChannel, ChannelDialer, Clock, Entropy as _, PortFuture, Resumption, SessionGrant,
    SessionRequest, SsmApi,
};
use stormtunnel_engine::tasks::Tasks;
use stormtunnel_engine::testing::{PATIENCE, TestClock, TestEntropy, World, memory_channel};
use stormtunnel_engine::{Engine, EngineHandle, Ports};
use stormtunnel_model::{Fault, FaultKind, ResolvedTarget, SsmSessionId};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub(crate) use self::agent::Remote;
use self::agent::{Agent, Order};

/// Messages each way that a channel holds: fewer than a send window, so that a channel that nobody reads is full.
const CHANNEL_CAPACITY: usize = 8;
/// Orders to an agent; tests give one at a time.
const ORDER_CAPACITY: usize = 8;

/// The cloud.
pub(crate) struct Cloud {
    tasks: Tasks,
    entropy: TestEntropy,
    inner: Mutex<Inner>,
    /// How many sessions are open.
    open: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    sessions: BTreeMap<SsmSessionId, mpsc::Sender<Order>>,
    started: u32,
    resumed: u32,
    network_down: bool,
    refusal: Option<Fault>,
    /// Nodes whose agents are not connected.
    offline: BTreeSet<String>,
    /// The nodes that sessions were asked for, in order.
    asked: Vec<String>,
    /// How often AWS was asked whether an agent is connected.
    connection_looks: u32,
    /// Whether it may not be asked.
    deny_looks: bool,
    remote: Remote,
    delivered: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
}

impl Cloud {
    fn new() -> Self {
        Self {
            tasks: Tasks::new(),
            entropy: TestEntropy::default(),
            inner: Mutex::default(),
            open: watch::Sender::new(0),
        }
    }

    fn count(&self) {
        self.open.send_replace(self.open_sessions());
    }

    /// Waits until so many sessions are open.
    pub(crate) async fn until_open(&self, count: usize) {
        let mut open = self.open.subscribe();
        let reached = timeout(PATIENCE, open.wait_for(|open| *open == count)).await;
        reached.expect("so many sessions").expect("the cloud lives");
    }

    /// Most connections that any one session has had at once.
    pub(crate) fn busiest(&self) -> usize {
        self.inner().busiest.load(Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the agents of new sessions find at the remote end.
    pub(crate) fn set_remote(&self, remote: Remote) {
        self.inner().remote = remote;
    }

    /// While down, nothing can be reached, and channels break.
    pub(crate) async fn set_network_down(&self, down: bool) {
        self.inner().network_down = down;
        if down {
            self.drop_channels().await;
        }
    }

    /// The agent of that node is not connected.
    pub(crate) fn set_offline(&self, node: &str) {
        self.inner().offline.insert(node.to_owned());
    }

    /// The agents of all nodes are connected again.
    pub(crate) fn all_online(&self) {
        self.inner().offline.clear();
    }

    /// What AWS answers to every call, instead of carrying it out.
    pub(crate) fn set_refusal(&self, refusal: Option<Fault>) {
        self.inner().refusal = refusal;
    }

    /// How often AWS was asked whether an agent is connected.
    pub(crate) fn connection_looks(&self) -> u32 {
        self.inner().connection_looks
    }

    /// AWS may not be asked whether an agent is connected.
    pub(crate) fn deny_looks(&self) {
        self.inner().deny_looks = true;
    }

    /// The nodes that sessions were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.inner().asked.clone()
    }

    /// The gateways ask their clients for silence, or take that back.
    pub(crate) async fn pause(&self, pause: bool) {
        self.order_all(|| Order::Pause(pause)).await;
    }

    /// The agents of all sessions fall silent for good, while their gateways go on.
    pub(crate) async fn mute(&self) {
        self.order_all(|| Order::Mute).await;
    }

    pub(crate) fn open_sessions(&self) -> usize {
        self.inner().sessions.len()
    }

    pub(crate) fn started(&self) -> u32 {
        self.inner().started
    }

    pub(crate) fn resumed(&self) -> u32 {
        self.inner().resumed
    }

    /// Bytes that the engine has been sent through all channels.
    pub(crate) fn delivered(&self) -> usize {
        self.inner().delivered.load(Ordering::Relaxed)
    }

    /// Breaks all data channels.
    pub(crate) async fn drop_channels(&self) {
        self.order_all(|| Order::DropChannel).await;
    }

    /// All data channels stay open and take nothing more.
    pub(crate) async fn swallow_channels(&self) {
        self.order_all(|| Order::BlackHole).await;
    }

    /// The gateways lose so many of the agents' next messages.
    pub(crate) async fn lose_messages(&self, count: usize) {
        self.order_all(|| Order::Lose(count)).await;
    }

    /// Sends garbage through all data channels.
    pub(crate) async fn send_garbage(&self) {
        self.order_all(|| Order::Garbage).await;
    }

    /// Ends all sessions as the service does, with a reason.
    pub(crate) async fn close_sessions(&self, output: &str) {
        self.order_all(|| Order::Close(output.to_owned())).await;
        self.inner().sessions.clear();
        self.count();
    }

    /// Ends all sessions without telling anybody.
    pub(crate) async fn expire_sessions(&self) {
        self.order_all(|| Order::DropChannel).await;
        self.inner().sessions.clear();
        self.count();
    }

    async fn order_all(&self, order: impl Fn() -> Order) {
        let agents: Vec<_> = self.inner().sessions.values().cloned().collect();
        for agent in agents {
            let _over = agent.send(order()).await;
        }
    }

    fn reachable(&self) -> Result<(), Fault> {
        if self.inner().network_down {
            Err(Fault::new(FaultKind::Network, "no route to host"))
        } else {
            Ok(())
        }
    }

    /// Whether AWS carries a call out.
    fn admits(&self) -> Result<(), Fault> {
        self.reachable()?;
        self.inner().refusal.clone().map_or(Ok(()), Err)
    }

    fn start_now(&self, request: &SessionRequest) -> Result<SessionGrant, Fault> {
        self.admits()?;
        let mut inner = self.inner();
        let node = request.node.to_string();
        inner.asked.push(node.clone());
        if inner.offline.contains(&node) {
            let region = "eu-west-1".to_owned();
            return Err(Fault::new(FaultKind::TargetNotConnected { target: node, region }, ""));
        }
        inner.started += 1;
        let id = SsmSessionId(format!("me@example-{:04}", inner.started));
        let (orders, receiver) = mpsc::channel(ORDER_CAPACITY);
        let counters = (Arc::clone(&inner.delivered), Arc::clone(&inner.busiest));
        let agent = Agent::new(inner.remote.clone(), receiver, counters, self.entropy.seed());
        self.tasks.spawn("agent", agent.run()).unwrap();
        inner.sessions.insert(id.clone(), orders);
        drop(inner);
        self.count();
        Ok(grant(id, &request.scope))
    }

    fn resume_now(&self, scope: &AwsScope, id: &SsmSessionId) -> Result<Resumption, Fault> {
        self.admits()?;
        let mut inner = self.inner();
        inner.resumed += 1;
        let lives = inner.sessions.get(id).is_some_and(|agent| !agent.is_closed());
        Ok(if lives { Resumption::Granted(grant(id.clone(), scope)) } else { Resumption::Gone })
    }

    async fn dial_now(&self, grant: &SessionGrant) -> Result<BoxChannel, Fault> {
        self.reachable()?;
        let agent = self.inner().sessions.get(&grant.id).cloned();
        let refused = || Fault::new(FaultKind::Network, "HTTP 403");
        let (channel, far_end) = memory_channel(CHANNEL_CAPACITY);
        agent.ok_or_else(refused)?.send(Order::Attach(far_end)).await.map_err(|_over| refused())?;
        Ok(Box::pin(channel))
    }

    async fn terminate_now(&self, id: &SsmSessionId) -> Result<(), Fault> {
        self.admits()?;
        let agent = self.inner().sessions.remove(id);
        self.count();
        if let Some(agent) = agent {
            let _over = agent.send(Order::Close(String::new())).await;
        }
        Ok(())
    }
}

fn grant(id: SsmSessionId, scope: &AwsScope) -> SessionGrant {
    SessionGrant {
        stream_url: format!("wss://ssmmessages.invalid/v1/data-channel/{id}"),
        token: SecretString::from(format!("token-of-{id}")),
        region: scope.region.clone().unwrap(),
        id,
    }
}

impl SsmApi for Cloud {
    fn start_session<'a>(
        &'a self,
        request: &'a SessionRequest,
    ) -> PortFuture<'a, Result<SessionGrant, Fault>> {
        async move { self.start_now(request) }.boxed()
    }

    fn resume_session<'a>(
        &'a self,
        scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<Resumption, Fault>> {
        async move { self.resume_now(scope, id) }.boxed()
    }

    fn is_connected<'a>(
        &'a self,
        _scope: &'a AwsScope,
        node: &'a ResolvedTarget,
    ) -> PortFuture<'a, Result<bool, Fault>> {
        async move {
            self.admits()?;
            let mut inner = self.inner();
            inner.connection_looks += 1;
            if inner.deny_looks {
                let (principal, resource) = (String::new(), "*".to_owned());
                let action = "ssm:GetConnectionStatus".to_owned();
                return Err(Fault::new(FaultKind::PermissionDenied { principal, action, resource }, ""));
            }
            Ok(!inner.offline.contains(node.as_str()))
        }
        .boxed()
    }

    fn terminate_session<'a>(
        &'a self,
        _scope: &'a AwsScope,
        id: &'a SsmSessionId,
    ) -> PortFuture<'a, Result<(), Fault>> {
        self.terminate_now(id).boxed()
    }
}

impl ChannelDialer for Cloud {
    fn dial<'a>(
        &'a self,
        _scope: &'a AwsScope,
        grant: &'a SessionGrant,
    ) -> PortFuture<'a, Result<BoxChannel, Fault>> {
        self.dial_now(grant).boxed()
    }
}

/// An engine in a world with a cloud.
pub(crate) struct Setup {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) world: World,
    pub(crate) engine: Engine,
    pub(crate) handle: EngineHandle,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::with(World::default()).await
    }

    pub(crate) async fn with(world: World) -> Self {
        Self::within(128 << 20, world).await
    }

    /// With a bound on what all sessions together hold.
    pub(crate) async fn within(unread_bytes: usize, world: World) -> Self {
        Self::on(Arc::new(Cloud::new()), world, unread_bytes).await
    }

    async fn on(cloud: Arc<Cloud>, world: World, unread_bytes: usize) -> Self {
        let ports = Ports { ssm: Arc::clone(&cloud) as _, dialer: Arc::clone(&cloud) as _, ..world.ports() };
        let started = Engine::start_within(unread_bytes, ports, world.settings.subscribe()).await;
        let (engine, handle) = started.unwrap();
        Self { cloud, world, engine, handle }
    }

    /// Stops the engine, and starts another one that finds what this one left.
    pub(crate) async fn restarted(self) -> Self {
        let Self { cloud, world, engine, .. } = self;
        engine.shutdown(Duration::from_secs(30)).await;
        Self::on(cloud, world, 128 << 20).await
    }

    /// Stops the engine and answers how long that took.
    pub(crate) async fn shutdown(self) -> Duration {
        let clock = TestClock::new();
        let before = clock.mono();
        self.engine.shutdown(Duration::from_secs(30)).await;
        clock.mono() - before
    }
}
