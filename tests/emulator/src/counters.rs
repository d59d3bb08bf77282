//! What happened, as numbers that can be waited for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Names of the counters. A gauge goes up and down, everything else only up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Connections through the proxy to the APIs.
    ProxyToApi = "proxy.to_api",
    /// Connections through the proxy to the message gateway.
    ProxyToGateway = "proxy.to_gateway",
    /// Clients that the proxy did not know.
    ProxyRefused = "proxy.refused",
    /// StartSession answered with a token.
    SessionsStarted = "sessions.started",
    /// Gauge: sessions not ended.
    SessionsOpen = "sessions.open",
    /// Sessions over, for whatever reason.
    SessionsEnded = "sessions.ended",
    /// Calls of any operation, refused ones included.
    ApiCalls = "api.calls",
    /// StartSession calls.
    ApiStartSession = "api.start_session",
    /// ResumeSession calls.
    ApiResumeSession = "api.resume_session",
    /// TerminateSession calls.
    ApiTerminateSession = "api.terminate_session",
    /// DescribeInstances calls.
    ApiDescribeInstances = "api.describe_instances",
    /// GetCallerIdentity calls.
    ApiGetCallerIdentity = "api.get_caller_identity",
    /// AssumeRole calls.
    ApiAssumeRole = "api.assume_role",
    /// AssumeRoleWithWebIdentity calls.
    ApiAssumeRoleWithWebIdentity = "api.assume_role_with_web_identity",
    /// DescribeInstanceInformation calls.
    ApiDescribeAgents = "api.describe_instance_information",
    /// ListTasks calls.
    ApiListTasks = "api.list_tasks",
    /// Calls refused for their signature or an unknown key.
    ApiBadSignature = "api.bad_signature",
    /// Calls refused for expired credentials.
    ApiExpired = "api.expired",
    /// StartSession refused because the target is unknown or its agent away.
    ApiTargetNotConnected = "api.target_not_connected",
    /// Calls refused for their content.
    ApiInvalid = "api.invalid",
    /// RegisterClient calls.
    OidcRegisterClient = "oidc.register_client",
    /// StartDeviceAuthorization calls.
    OidcStartDeviceAuthorization = "oidc.start_device_authorization",
    /// Pages of the authorization endpoint.
    OidcAuthorize = "oidc.authorize",
    /// Pages on which device codes are confirmed.
    OidcVerifyDevice = "oidc.verify_device",
    /// CreateToken calls with a device code.
    OidcCreateTokenByDevice = "oidc.create_token_by_device",
    /// CreateToken calls with an authorization code.
    OidcCreateTokenByCode = "oidc.create_token_by_code",
    /// CreateToken calls with a refresh token.
    OidcRefreshToken = "oidc.refresh_token",
    /// Of those, the ones that were granted.
    OidcRefreshesGranted = "oidc.refreshes_granted",
    /// Of those, the ones that came while another one of the same login was under way.
    OidcRefreshesConcurrent = "oidc.refreshes_concurrent",
    /// Logins that got their first token.
    Logins = "oidc.logins",
    /// Pages that a browser opened for a login, of either kind.
    BrowserOpenings = "browser.openings",
    /// GetRoleCredentials calls.
    PortalGetRoleCredentials = "portal.get_role_credentials",
    /// ListAccounts calls.
    PortalListAccounts = "portal.list_accounts",
    /// ListAccountRoles calls.
    PortalListAccountRoles = "portal.list_account_roles",
    /// Logout calls.
    PortalLogout = "portal.logout",
    /// Session tokens of the instance metadata service that were asked for.
    MetadataTokens = "metadata.tokens",
    /// Other calls of the instance metadata service.
    MetadataCalls = "metadata.calls",
    /// Calls for a container's credentials.
    ContainerCredentials = "metadata.container_credentials",
    /// ResumeSession answered with a token.
    SessionsResumed = "sessions.resumed",
    /// WebSocket upgrades granted.
    Upgrades = "gateway.upgrades",
    /// WebSocket upgrades refused.
    UpgradesRefused = "gateway.upgrades_refused",
    /// Open messages refused: token, client id or form.
    OpensRefused = "gateway.opens_refused",
    /// Clients attached to their session by a valid open message.
    ClientsAttached = "gateway.clients_attached",
    /// Gauge: clients attached now.
    ClientsConnected = "gateway.clients_connected",
    /// Clients replaced by a newer connection of the same session.
    ClientsEvicted = "gateway.clients_evicted",
    /// Frames kept for an absent side and delivered later.
    FramesBuffered = "gateway.frames_buffered",
    /// Frames dropped because the buffer for an absent side was full.
    FramesOverflowed = "gateway.frames_overflowed",
    /// WebSocket pings of clients.
    PingsFromClient = "gateway.pings_from_client",
    /// Data messages from clients.
    DataFromClient = "from_client.data",
    /// Acknowledgements from clients.
    AcksFromClient = "from_client.acks",
    /// Handshake messages from clients.
    HandshakeFromClient = "from_client.handshake",
    /// Flags from clients.
    FlagsFromClient = "from_client.flags",
    /// Other or unreadable frames from clients.
    OtherFromClient = "from_client.other",
    /// Numbered messages from clients whose number had been seen before.
    RepeatedFromClient = "from_client.repeated",
    /// Numbered messages from clients whose date is more than a minute off.
    MisdatedFromClient = "from_client.misdated",
    /// Bytes of connections from clients, repetitions included.
    BytesFromClient = "from_client.bytes",
    /// Data messages from agents.
    DataFromAgent = "from_agent.data",
    /// Acknowledgements from agents.
    AcksFromAgent = "from_agent.acks",
    /// Handshake messages from agents.
    HandshakeFromAgent = "from_agent.handshake",
    /// Flags from agents.
    FlagsFromAgent = "from_agent.flags",
    /// Other frames from agents.
    OtherFromAgent = "from_agent.other",
    /// Numbered messages from agents whose number had been seen before.
    RepeatedFromAgent = "from_agent.repeated",
    /// Numbered messages from agents whose date is more than a minute off.
    MisdatedFromAgent = "from_agent.misdated",
    /// Bytes of connections from agents, repetitions included.
    BytesFromAgent = "from_agent.bytes",
    /// Connections of agents to the gateway.
    AgentConnects = "agent.connects",
    /// Handshakes finished.
    AgentHandshakes = "agent.handshakes",
    /// Streams that agents were asked to connect.
    AgentDials = "agent.dials",
    /// Of those, the ones that could not be connected.
    AgentDialsFailed = "agent.dials_failed",
    /// Gauge: connections of agents to destinations.
    AgentStreams = "agent.streams",
    /// Messages of clients that agents ignored because they were not ready yet.
    AgentNotReady = "agent.not_ready",
    /// Violations of the protocol that an agent saw.
    AgentViolations = "agent.violations",
    /// Clients' TCP connections reset on order.
    InjectedClientDrops = "injected.client_drops",
    /// Polite closes on order.
    InjectedCloses = "injected.closes",
    /// Oversize close frames sent.
    InjectedOversizeCloses = "injected.oversize_closes",
    /// Agents' connections cut on order.
    InjectedAgentDrops = "injected.agent_drops",
    /// Workers crashed.
    InjectedCrashes = "injected.crashes",
    /// Frames lost.
    InjectedLost = "injected.lost",
    /// Frames doubled.
    InjectedDuplicated = "injected.duplicated",
    /// Frames held back.
    InjectedReordered = "injected.reordered",
    /// Frames delayed by latency.
    InjectedDelayed = "injected.delayed",
    /// Frames delayed by jitter.
    InjectedJittered = "injected.jittered",
    /// Frames or additions corrupted.
    InjectedCorrupted = "injected.corrupted",
    /// `pause_publication` sent on order.
    InjectedPauses = "injected.pauses",
    /// Black holes begun.
    InjectedBlackHoles = "injected.black_holes",
    /// Connections of clients in which one direction began to vanish.
    InjectedOneSidedBlackHoles = "injected.one_sided_black_holes",
    /// Bytes that vanished in them, below the WebSocket.
    InjectedBytesVanished = "injected.bytes_vanished",
    /// Dials of agents that got no answer.
    InjectedDialsUnanswered = "injected.dials_unanswered",
    /// Times the gateway went down.
    InjectedOutages = "injected.outages",
    /// Connections refused while the gateway was down.
    InjectedConnectionsRefused = "injected.connections_refused",
    /// Upgrades refused on order.
    InjectedUpgradeRefusals = "injected.upgrade_refusals",
    /// Sessions ended on order.
    InjectedKills = "injected.kills",
    /// Sessions with an agent that never spoke.
    InjectedSilentAgents = "injected.silent_agents",
    /// Calls and upgrades denied on order.
    InjectedDenials = "injected.denials",
    /// Restarts of the service.
    InjectedRestarts = "injected.restarts",
    /// Instances terminated.
    InjectedTerminations = "injected.terminations",
    /// Calls throttled.
    InjectedThrottles = "injected.throttles",
    /// Stream URLs replaced.
    InjectedStreamUrls = "injected.stream_urls",
    /// Calls of sign-in and credentials that did not go well on order.
    InjectedTroubles = "injected.troubles",
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All values at one moment, by name.
pub type Snapshot = BTreeMap<&'static str, u64>;

/// A wait that ended without what it waited for.
#[derive(Debug, thiserror::Error)]
#[error("not within {deadline:?}; counters: {counters:?}")]
pub struct WaitError {
    /// The deadline given.
    pub deadline: Duration,
    /// Every counter that is not 0.
    pub counters: Snapshot,
}

/// The counters of one emulator.
#[derive(Debug)]
pub struct Counters {
    values: Vec<AtomicU64>,
    /// Tasks that want to hear of changes.
    waiting: AtomicUsize,
    changed: Notify,
}

impl Default for Counters {
    fn default() -> Self {
        let values = Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self { values, waiting: AtomicUsize::new(0), changed: Notify::new() }
    }
}

impl Counters {
    /// The present value.
    #[must_use]
    pub fn value(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::SeqCst)
    }

    /// Every counter that is not 0.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Counter::ALL
            .iter()
            .map(|counter| (counter.name(), self.value(*counter)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    /// Waits until `reached` is true of the counters.
    ///
    /// # Errors
    /// [`WaitError`] when that does not happen before `deadline` has passed.
    pub async fn wait(
        &self,
        deadline: Duration,
        mut reached: impl FnMut(&Self) -> bool,
    ) -> Result<(), WaitError> {
        let _waiting = Waiting::new(&self.waiting);
        let change = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Registered before looking: a change in between is not missed.
                changed.as_mut().enable();
                if reached(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(deadline, change)
            .await
            .map_err(|_| WaitError { deadline, counters: self.snapshot() })
    }

    /// Waits until a counter is at least `n`.
    ///
    /// # Errors
    /// As [`Counters::wait`].
    pub async fn wait_at_least(&self, counter: Counter, n: u64, deadline: Duration) -> Result<(), WaitError> {
        self.wait(deadline, |counters| counters.value(counter) >= n).await
    }

    /// Waits until a counter is exactly `n`: for gauges.
    ///
    /// # Errors
    /// As [`Counters::wait`].
    pub async fn wait_exactly(&self, counter: Counter, n: u64, deadline: Duration) -> Result<(), WaitError> {
        self.wait(deadline, |counters| counters.value(counter) == n).await
    }

    pub(crate) fn add(&self, counter: Counter, n: u64) {
        self.values[counter as usize].fetch_add(n, Ordering::SeqCst);
        self.tell();
    }

    pub(crate) fn increment(&self, counter: Counter) {
        self.add(counter, 1);
    }

    pub(crate) fn decrement(&self, counter: Counter) {
        self.values[counter as usize].fetch_sub(1, Ordering::SeqCst);
        self.tell();
    }

    /// Wakes those who wait. Whoever begins to wait after the look at their number sees the new value: both are
    /// sequentially consistent.
    fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Counts a gauge up now and down again when the answer is dropped.
    pub(crate) fn hold(self: &std::sync::Arc<Self>, gauge: Counter) -> Held {
        self.increment(gauge);
        Held { counters: std::sync::Arc::clone(self), gauge }
    }
}

/// One task that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One unit of a gauge.
#[derive(Debug)]
pub(crate) struct Held {
    counters: std::sync::Arc<Counters>,
    gauge: Counter,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counters.decrement(self.gauge);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            Counter::ALL.iter().map(|counter| counter.name()).collect();
        assert_eq!(names.len(), Counter::ALL.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_event_or_with_its_deadline() {
        let counters = Arc::new(Counters::default());
        let deadline = Duration::from_secs(5);
        let waiting = counters.wait_at_least(Counter::Upgrades, 2, deadline);
        let counting = async {
            counters.increment(Counter::Upgrades);
            counters.increment(Counter::Upgrades);
        };
        let (waited, ()) = tokio::join!(waiting, counting);
        waited.unwrap();
        let error = counters.wait_at_least(Counter::Upgrades, 3, deadline).await.unwrap_err();
        assert_eq!(error.counters, Snapshot::from([("gateway.upgrades", 2)]));
    }

    #[test]
    fn a_held_gauge_falls_when_dropped() {
        let counters = Arc::new(Counters::default());
        let held = counters.hold(Counter::SessionsOpen);
        assert_eq!(counters.value(Counter::SessionsOpen), 1);
        drop(held);
        assert_eq!(counters.value(Counter::SessionsOpen), 0);
    }
}
