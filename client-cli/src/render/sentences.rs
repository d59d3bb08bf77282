//! What is said when something went as wanted: one line each.

use stormtunnel_model::{Tunnel, TunnelState};
use stormtunnel_proto::calls::UpdatedTunnel;

use super::{address, details, times, via};

/// The tunnel can be used.
pub fn is_up(tunnel: &Tunnel) -> String {
    let state = if tunnel.status.state == TunnelState::Idle { "ready" } else { "up" };
    let end = tunnel.terms.stops_at.map(|end| format!("; it stops at {}", times::stamp(end)));
    format!(
        "{} is {state}: {} -> {} via {}{}",
        tunnel.spec.name,
        address(tunnel),
        tunnel.spec.remote,
        via(tunnel),
        end.unwrap_or_default()
    )
}

/// The tunnel was told to start, and nobody waited.
pub fn is_starting(tunnel: &Tunnel) -> String {
    if tunnel.status.state == TunnelState::Up {
        is_up(tunnel)
    } else {
        format!("{} is starting", tunnel.spec.name)
    }
}

/// The tunnel has stopped.
pub fn is_stopped(tunnel: &Tunnel) -> String {
    format!("{} is stopped", tunnel.spec.name)
}

/// The tunnel was told to stop, and nobody waited.
pub fn is_stopping(tunnel: &Tunnel) -> String {
    match tunnel.status.state {
        TunnelState::Stopped => is_stopped(tunnel),
        TunnelState::Connecting { .. }
        | TunnelState::Up
        | TunnelState::Idle
        | TunnelState::Retrying { .. }
        | TunnelState::Blocked { .. }
        | TunnelState::Stopping => format!("{} is stopping", tunnel.spec.name),
    }
}

/// What is waited for, of tunnels that are not where they are wanted yet.
pub fn is_waited_for(tunnels: &[&Tunnel]) -> String {
    let name = |tunnel: &&Tunnel| tunnel.spec.name.to_string();
    let [only] = tunnels else {
        let names: Vec<String> = tunnels.iter().map(name).collect();
        return format!("waiting for {} tunnels: {}", names.len(), names.join(", "));
    };
    let how = match &only.status.state {
        TunnelState::Connecting { step } => details::step_words(*step),
        TunnelState::Retrying { .. } => "it is retried by itself",
        TunnelState::Blocked { .. } => "it waits for you",
        TunnelState::Stopping => "its session is being ended",
        TunnelState::Up | TunnelState::Idle | TunnelState::Stopped => "the daemon is about to see to it",
    };
    format!("waiting for {}: {how}", name(only))
}

/// The tunnel was ended and forgotten.
pub fn is_removed(tunnel: &Tunnel) -> String {
    format!("{} is removed", tunnel.spec.name)
}

/// The tunnel was made and not started.
pub fn is_made(tunnel: &Tunnel) -> String {
    let name = &tunnel.spec.name;
    let is_open_yet = !tunnel.spec.local.is_automatic() || !tunnel.status.listening.is_empty();
    let local = if is_open_yet { address(tunnel) } else { "a port chosen at the start".to_owned() };
    format!(
        "{name} is made: {local} -> {} via {}; `stctl up {name}` starts it",
        tunnel.spec.remote,
        via(tunnel)
    )
}

/// What a change did, or would do.
pub fn is_changed(updated: &UpdatedTunnel, only_told: bool) -> String {
    let effect = match (updated.reconnects, updated.rebinds) {
        (false, false) => "it goes on undisturbed",
        (true, false) => "it reconnects",
        (false, true) => "its local end is opened anew",
        (true, true) => "it reconnects, and its local end is opened anew",
    };
    let name = &updated.tunnel.spec.name;
    if only_told {
        format!("{name} would be changed: {effect}")
    } else {
        format!("{name} is changed: {effect}")
    }
}
