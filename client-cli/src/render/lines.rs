//! One line per change, for `watch`.

use stormtunnel_model::{Timestamp, Tunnel, TunnelName, TunnelState};

use super::{Style, Tone, address, times};

/// A tunnel is new or different.
pub fn changed(tunnel: &Tunnel, now: Timestamp, style: Style) -> String {
    let state = style.paint(tunnel.status.state.label(), Tone::of(&tunnel.status.state));
    let more = match &tunnel.status.state {
        TunnelState::Up | TunnelState::Idle => format!(" {}", address(tunnel)),
        TunnelState::Retrying { at, fault } => format!(" in {}: {fault}", times::span(at.since(now))),
        TunnelState::Blocked { fault } => format!(": {fault}"),
        TunnelState::Stopped | TunnelState::Connecting { .. } | TunnelState::Stopping => String::new(),
    };
    format!("{}  {}  {state}{more}\n", times::clock(now), tunnel.spec.name)
}

/// A tunnel is gone.
pub fn removed(name: &TunnelName, now: Timestamp) -> String {
    format!("{}  {name}  removed\n", times::clock(now))
}
