//! The nodes that exist, with their agents. Nodes come and go while the emulator runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::config::Instance;

/// All nodes, in the order in which they came. Nobody is forgotten: a terminated one is still told of.
#[derive(Debug)]
pub(crate) struct Fleet {
    nodes: Mutex<Vec<Node>>,
}

#[derive(Debug)]
struct Node {
    instance: Instance,
    away: watch::Sender<bool>,
    terminated: bool,
}

/// How a node is.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) instance: Instance,
    /// Its agent is not connected.
    pub(crate) away: bool,
    pub(crate) terminated: bool,
}

impl Fleet {
    pub(crate) fn new(instances: Vec<Instance>) -> Self {
        let fleet = Self { nodes: Mutex::default() };
        instances.into_iter().for_each(|instance| fleet.add(instance));
        fleet
    }

    /// Adds a node, in the place of one with the same id.
    pub(crate) fn add(&self, instance: Instance) {
        let mut nodes = self.nodes();
        nodes.retain(|node| node.instance.id != instance.id);
        nodes.push(Node { instance, away: watch::Sender::new(false), terminated: false });
    }

    /// Ends a node for good: its agent never comes back.
    pub(crate) fn terminate(&self, id: &str) {
        if let Some(node) = self.nodes().iter_mut().find(|node| node.instance.id == id) {
            node.terminated = true;
            node.away.send_replace(true);
        }
    }

    pub(crate) fn set_away(&self, id: &str, away: bool) {
        if let Some(node) = self.nodes().iter().find(|node| node.instance.id == id && !node.terminated) {
            node.away.send_replace(away);
        }
    }

    /// All agents are back, but for those of terminated nodes.
    pub(crate) fn calm(&self) {
        for node in self.nodes().iter().filter(|node| !node.terminated) {
            node.away.send_replace(false);
        }
    }

    /// Whether the agent of a node in `region` is away, and changes of that; `None`: no such node there.
    pub(crate) fn agent(&self, id: &str, region: &str, home: &str) -> Option<watch::Receiver<bool>> {
        let nodes = self.nodes();
        let node = nodes.iter().find(|node| node.instance.id == id && node.is_in(region, home))?;
        node.instance.registered.then(|| node.away.subscribe())
    }

    /// The nodes of a region.
    pub(crate) fn seen(&self, region: &str, home: &str) -> Vec<Seen> {
        let nodes = self.nodes();
        let here = nodes.iter().filter(|node| node.is_in(region, home));
        here.map(|node| Seen {
            instance: node.instance.clone(),
            away: *node.away.borrow(),
            terminated: node.terminated,
        })
        .collect()
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn is_in(&self, region: &str, home: &str) -> bool {
        self.instance.region.as_deref().unwrap_or(home) == region
    }
}
