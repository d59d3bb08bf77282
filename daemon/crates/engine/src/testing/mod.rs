//! Twins of the ports, in memory and under the test's control.
//!
//! | port | twin |
//! |---|---|
//! | `Clock` | [`TestClock`]: the runtime's clock, which stands still under `start_paused` |
//! | `Entropy` | [`TestEntropy`]: a counter |
//! | `TunnelStore` | [`MemoryStore`] |
//! | `HistoryStore` | [`MemoryHistory`] |
//! | `LocalNetwork` | [`MemoryNetwork`]: ports and connections |
//! | `SsmApi` | [`ScriptedSsm`]: succeeds unless told otherwise, and knows which sessions are open |
//! | `Identity` | [`ScriptedIdentity`]: tells what it was told to tell |
//! | `Incidents` | [`Bulletin`], which is also what the daemon's adapters report to |
//! | `TargetDirectory` | [`MemoryTargets`]: finds what the test put there |
//! | `OidcApi` | [`MemoryOidc`]: takes each refresh token once |
//! | `SharedCache`, `KeyStore` | [`MemoryCache`], [`MemoryKeys`] |
//! | `Browser` | [`ScriptedBrowser`]: its person does what the test says |
//! | `PortalApi` | [`MemoryPortal`] |
//! | `AccountsApi`, `ConfigFile` | [`MemoryAccounts`], [`MemoryConfig`] |
//! | `SignInObserver` | [`MemoryObserver`] |
//! | `Notifier` | [`MemoryNotifier`] |
//! | `Diagnostics` | [`SoundMachine`]: nothing is wrong |
//! | `ChannelDialer` | [`ScriptedDialer`]: hands the far end of each channel to the test |

mod channel;
mod configure;
mod diagnostics;
mod dialer;
mod history;
mod identity;
mod network;
mod notifier;
mod sign_in;
mod ssm;
mod store;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Etag, Intent, Labels, RunTerms, Timestamp, Tunnel, TunnelId, TunnelSpec};
use tokio::sync::watch;

pub use self::channel::{FarEnd, MemoryChannel, memory_channel};
pub use self::configure::{MemoryAccounts, MemoryConfig};
pub use self::dialer::{Dialled, ScriptedDialer};
pub use self::history::MemoryHistory;
pub use self::identity::ScriptedIdentity;
pub use self::network::{MemoryClient, MemoryNetwork, MemoryStream, local_pair};
pub use self::notifier::MemoryNotifier;
pub use self::sign_in::{MemoryCache, MemoryKeys, MemoryObserver, MemoryOidc, MemoryPortal, ScriptedBrowser};
pub use self::ssm::ScriptedSsm;
pub use self::store::MemoryStore;
pub use self::targets::{MemoryTargets, candidate};
use crate::engine::Ports;
use crate::handle::EngineHandle;
use crate::incidents::Bulletin;
use crate::ports::{Clock, Entropy, StoredTunnel};
use crate::profiles::registry::Profiles;
use crate::publish::Change;
use crate::sign_in::registry::SignIns;
pub use diagnostics::SoundMachine;

/// How long a test waits for something before it fails. Under a paused clock this costs nothing.
pub const PATIENCE: Duration = Duration::from_secs(3600);

/// The runtime's clock: `tokio::time::pause` stops it.
#[derive(Debug)]
pub struct TestClock {
    start: tokio::time::Instant,
    /// Milliseconds that the wall clock went on while the runtime's stood still.
    slept: Arc<AtomicU64>,
}

impl TestClock {
    /// A clock whose wall time begins in November 2023. Needs a runtime.
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now(), slept: Arc::default() }
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn mono(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall(&self) -> Timestamp {
        let slept = Duration::from_millis(self.slept.load(Ordering::SeqCst));
        Timestamp::from_millis(1_700_000_000_000).plus(self.start.elapsed()).plus(slept)
    }
}

/// Seeds that count up: every run of a test gets the same ones.
#[derive(Debug, Default)]
pub struct TestEntropy(AtomicU64);

impl Entropy for TestEntropy {
    fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        seed.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&number.to_be_bytes()));
        seed
    }
}

/// A set of twins, each at hand for the test.
#[derive(Clone)]
pub struct World {
    /// Sessions.
    pub ssm: Arc<ScriptedSsm>,
    /// Who we are.
    pub identity: Arc<ScriptedIdentity>,
    /// Nodes.
    pub targets: Arc<MemoryTargets>,
    /// Channels.
    pub dialer: Arc<ScriptedDialer>,
    /// Local ports.
    pub network: Arc<MemoryNetwork>,
    /// Stored tunnels.
    pub store: Arc<MemoryStore>,
    /// Stored events and statistics.
    pub history: Arc<MemoryHistory>,
    /// What happens to the machine.
    pub incidents: Bulletin,
    /// Milliseconds that the wall clock went on while the runtime's stood still; see [`World::skip_wall_clock`].
    pub slept: Arc<AtomicU64>,
    /// Settings, to be changed while the engine runs.
    pub settings: watch::Sender<Arc<Settings>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            ssm: Arc::default(),
            identity: Arc::default(),
            targets: Arc::default(),
            dialer: Arc::default(),
            network: Arc::default(),
            store: Arc::default(),
            history: Arc::default(),
            incidents: Bulletin::default(),
            slept: Arc::default(),
            settings: watch::Sender::new(Arc::default()),
        }
    }
}

impl World {
    /// Lets only the wall clock go on, as while the machine sleeps.
    pub fn skip_wall_clock(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.slept.fetch_add(millis, Ordering::SeqCst);
    }

    /// The ports for [`crate::Engine::start`]. Needs a runtime.
    pub fn ports(&self) -> Ports {
        Ports {
            ssm: Arc::clone(&self.ssm) as _,
            identity: Arc::clone(&self.identity) as _,
            targets: Arc::clone(&self.targets) as _,
            dialer: Arc::clone(&self.dialer) as _,
            network: Arc::clone(&self.network) as _,
            store: Arc::clone(&self.store) as _,
            history: Arc::clone(&self.history) as _,
            sign_ins: SignIns::none(),
            profiles: Profiles::none(),
            incidents: Arc::new(self.incidents.clone()),
            clock: Arc::new(TestClock { slept: Arc::clone(&self.slept), ..TestClock::new() }),
            entropy: Arc::new(TestEntropy::default()),
        }
    }
}

/// A tunnel to `db.internal:5432` with an automatic port.
///
/// # Panics
/// When `name` is no tunnel name.
#[expect(clippy::expect_used, reason = "test support: a panic is the test's failure")]
pub fn spec(name: &str) -> TunnelSpec {
    TunnelSpec {
        name: name.parse().expect("a tunnel name"),
        profile: None,
        region: Some("eu-west-1".parse().expect("a region")),
        target: "i-0abcdef1234567890".parse().expect("a target"),
        remote: "db.internal:5432".parse().expect("a remote"),
        local: "auto".parse().expect("a local end"),
        allow_non_loopback: false,
        labels: Labels::new(),
        keep: Default::default(),
        sessions: Default::default(),
        reason: None,
        ttl: None,
    }
}

/// The tunnel as a store would have it, never started.
pub fn stored(spec: TunnelSpec) -> StoredTunnel {
    let created_at = Timestamp::from_millis(1_700_000_000_000);
    let mut random = [0; 10];
    random.iter_mut().zip(spec.name.as_str().bytes()).for_each(|(random, byte)| *random = byte);
    StoredTunnel {
        id: TunnelId::new(created_at, &random),
        etag: Etag(1),
        created_at,
        spec,
        intent: Intent::Stop,
        terms: RunTerms::default(),
        kept_port: None,
        request_id: None,
    }
}

/// Waits until a tunnel is as wanted, and answers how it is then.
///
/// # Panics
/// When it is not within [`PATIENCE`].
#[expect(clippy::panic, reason = "test support: a panic is the test's failure")]
pub async fn wait_until(handle: &EngineHandle, name: &str, wanted: impl Fn(&Tunnel) -> bool) -> Tunnel {
    let mut watcher = handle.watch(None, vec![name.to_owned()]);
    let search = async {
        while let Some(event) = watcher.next().await {
            let tunnels = match event.change {
                Change::Snapshot(tunnels) => tunnels,
                Change::Changed(tunnel) => vec![tunnel],
                Change::Deleted { .. } | Change::Resumed => Vec::new(),
            };
            if let Some(tunnel) = tunnels.into_iter().find(|tunnel| wanted(tunnel)) {
                return Some(tunnel);
            }
        }
        None
    };
    match tokio::time::timeout(PATIENCE, search).await {
        Ok(Some(tunnel)) => tunnel,
        Ok(None) | Err(_) => panic!("tunnel {name} never got there; it is {:?}", handle.get(name)),
    }
}
