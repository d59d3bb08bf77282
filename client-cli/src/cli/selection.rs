//! Which tunnels a command is about.

use clap::Args;
use stormtunnel_model::Selector;

/// The tunnels that a command is about; some have to be named.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Selection {
    /// Names or ids of the tunnels
    #[arg(value_name = "NAME")]
    pub tunnels: Vec<String>,
    /// All tunnels
    #[arg(long)]
    pub all: bool,
    /// Tunnels with these labels: KEY=VALUE, KEY!=VALUE, KEY or !KEY, separated by commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
}

impl Selection {
    /// Whether one tunnel is named, and so one answer is expected. Labels may mean one as well, and are asked for several.
    pub(crate) fn is_of_one(&self) -> bool {
        self.tunnels.len() == 1
    }

    /// Tunnels with these names or ids.
    pub fn of(tunnels: Vec<String>) -> Self {
        Self { tunnels, all: false, selector: None }
    }
}

/// The tunnels that a command is about; without any, all.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct Filter {
    /// Names or ids of tunnels; by default all
    #[arg(value_name = "NAME")]
    pub tunnels: Vec<String>,
    /// Tunnels with these labels: KEY=VALUE, KEY!=VALUE, KEY or !KEY, separated by commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
}
