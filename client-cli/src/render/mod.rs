//! Tunnels, sign-ins, profiles, settings and failures as text or as data for programs. Pure: everything is an argument.

pub mod details;
pub mod events;
pub mod explain;
pub mod findings;
pub mod history_views;
pub mod lines;
pub mod logins;
pub mod problems;
pub mod profile_views;
pub mod profiles;
pub mod sentences;
pub mod sign_in_views;
pub mod sign_ins;
pub mod sso_config;
pub mod tables;
pub mod target_views;
pub mod times;
pub mod views;
pub mod wrap;

use owo_colors::{AnsiColors, OwoColorize};
use stormtunnel_model::{BoundAddress, LocalEndpoint, Tunnel, TunnelState};

/// How text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
}

impl Style {
    fn paint(self, text: &str, tone: Tone) -> String {
        if self.colour { text.color(tone.colour()).to_string() } else { text.to_owned() }
    }
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    /// It works: green.
    Good,
    /// It changes by itself: yellow.
    Moving,
    /// It waits for a person: red.
    Bad,
    /// It is off: grey.
    Off,
}

impl Tone {
    fn of(state: &TunnelState) -> Self {
        match state {
            TunnelState::Up | TunnelState::Idle => Self::Good,
            TunnelState::Connecting { .. } | TunnelState::Retrying { .. } | TunnelState::Stopping => {
                Self::Moving
            }
            TunnelState::Blocked { .. } => Self::Bad,
            TunnelState::Stopped => Self::Off,
        }
    }

    fn colour(self) -> AnsiColors {
        match self {
            Self::Good => AnsiColors::Green,
            Self::Moving => AnsiColors::Yellow,
            Self::Bad => AnsiColors::Red,
            Self::Off => AnsiColors::BrightBlack,
        }
    }
}

/// Names, one per line.
pub fn names(tunnels: &[Tunnel]) -> String {
    tunnels.iter().map(|tunnel| format!("{}\n", tunnel.spec.name)).collect()
}

/// The address to connect to: with the port in use, where there is one.
pub fn address(tunnel: &Tunnel) -> String {
    let in_use = tunnel.status.listening.first().and_then(BoundAddress::port);
    match (&tunnel.spec.local, in_use) {
        (LocalEndpoint::Tcp { address, .. }, Some(port)) => {
            LocalEndpoint::Tcp { address: *address, port: port.into() }.to_string()
        }
        (local, _) => local.to_string(),
    }
}

/// Where a tunnel goes through: target, the node that was found for it, and region, as far as they are known.
fn via(tunnel: &Tunnel) -> String {
    let target = &tunnel.spec.target;
    let node = tunnel.status.node.as_ref().map(|node| node.as_str()).filter(|node| *node != target.as_str());
    let region = tunnel.spec.region.as_ref().map(|region| region.as_str());
    let more: Vec<&str> = node.into_iter().chain(region).collect();
    if more.is_empty() { target.to_string() } else { format!("{target} ({})", more.join(", ")) }
}
