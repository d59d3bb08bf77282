//! Out of file descriptors. A test of its own process: the limit is the process's.

#![expect(clippy::unwrap_used, reason = "a broken expectation is a failed test")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stormtunnel_engine::ports::LocalNetwork;
use stormtunnel_model::{BoundAddress, LocalEndpoint};
use stormtunneld::local_network::SocketNetwork;
use tokio::net::TcpStream;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Under the paused clock the time passes as soon as nothing else is to be done; a loop that spins would never let it.
#[tokio::test(start_paused = true)]
async fn a_lack_of_descriptors_is_waited_out_without_spinning() {
    let warnings = Warnings::default();
    let _log = tracing::subscriber::set_default(tracing_subscriber::registry().with(warnings.clone()));
    let mut listener = SocketNetwork::default().bind(LocalEndpoint::AUTOMATIC).await.unwrap();
    let BoundAddress::Tcp(address) = listener.addresses()[0].clone() else { panic!("no TCP") };
    let _client = TcpStream::connect(address).await.unwrap();
    let before = getrlimit(Resource::Nofile);
    allow_no_more_descriptors(before);

    let ten_seconds = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await;
    assert!(ten_seconds.is_err(), "there is no descriptor to accept with");
    let tries = warnings.0.load(Ordering::Relaxed);
    assert!((1..=200).contains(&tries), "{tries} tries in ten seconds");

    setrlimit(Resource::Nofile, before).unwrap();
    tokio::time::timeout(Duration::from_secs(10), listener.accept())
        .await
        .expect("the connection has waited");
}

/// New descriptors get the lowest free number: forbid that one.
fn allow_no_more_descriptors(limit: Rlimit) {
    let lowest_free = File::open("/dev/null").unwrap().as_raw_fd();
    let current = Some(u64::try_from(lowest_free).unwrap());
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

/// Counts what is logged as a warning.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
