//! Filters by what lines are about, of tasks that are older than the filter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stormtunnel_engine::tasks::Tasks;
use tokio::sync::mpsc;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::tests::Lines;
use super::*;
use crate::args::LogFormat;

/// A task for each tunnel, which writes a line at DEBUG when it is told to.
fn tunnels(tasks: &Tasks, names: &[&'static str]) -> Vec<mpsc::Sender<()>> {
    let tunnel = |name: &'static str| {
        let (tell, mut told) = mpsc::channel::<()>(1);
        let task = async move {
            while told.recv().await.is_some() {
                tracing::debug!(target: "stormtunnel_engine::tunnel", "line of {name}");
            }
        };
        let span = move || tracing::error_span!(parent: None, "tunnel", tunnel = %name);
        tasks.spawn_within("tunnel", span, task).unwrap();
        tell
    };
    names.iter().map(|name| tunnel(name)).collect()
}

#[tokio::test]
async fn the_level_of_one_tunnel_is_raised_while_it_runs() {
    let written = Lines::default();
    let output = lines(LogFormat::Text, BoxMakeWriter::new(written.clone()), false);
    let (layer, control) = filtered(output, "info");
    let _log = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let tasks = Tasks::new();
    let tunnels = tunnels(&tasks, &["db", "web"]);
    let all = async || {
        for tunnel in &tunnels {
            tunnel.send(()).await.unwrap();
            // The task has taken it, and with the next one it has written its line.
            tunnel.send(()).await.unwrap();
            drop(tunnel.reserve().await.unwrap());
        }
        written.take()
    };
    assert_eq!(all().await, "", "nobody asked for DEBUG");

    control.set_filter("info,[{tunnel=db}]=debug").unwrap();
    let text = all().await;
    assert!(text.contains("tunnel{tunnel=db}: stormtunnel_engine::tunnel: line of db"), "{text}");
    assert!(!text.contains("web"), "{text}");

    control.set_filter("info,[tunnel{tunnel=web}]=debug").unwrap();
    let text = all().await;
    assert!(text.contains("line of web") && !text.contains("db"), "{text}");

    control.set_filter("info").unwrap();
    assert_eq!(all().await, "");
    drop(tunnels);
    tasks.shutdown(Duration::from_secs(10)).await.unwrap();
}

/// Says how often somebody wanted to read it.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        f.write_str("read")
    }
}

#[test]
fn what_is_not_written_is_not_even_formatted() {
    let (written, value) = (Lines::default(), Counting::default());
    let output = lines(LogFormat::Text, BoxMakeWriter::new(written.clone()), false);
    let (layer, control) = filtered(output, "info");
    let say = || {
        let span = |name: &str| tracing::error_span!(parent: None, "tunnel", tunnel = %name);
        for name in ["db", "web"] {
            span(name).in_scope(|| tracing::debug!(target: "stormtunnel_engine", ?value, "line"));
        }
        value.0.load(Ordering::Relaxed)
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        assert_eq!(say(), 0);
        control.set_filter("info,[{tunnel=db}]=debug").unwrap();
        assert_eq!(say(), 1, "that of the one tunnel alone");
    });
    assert!(written.take().contains("tunnel{tunnel=db}: stormtunnel_engine: line value=read"));
}
