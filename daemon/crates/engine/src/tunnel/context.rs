//! What all tunnels share.

use std::sync::Arc;

use ssm_session::{Config, MessageRate};
use stormtunnel_model::settings::Settings;
use stormtunnel_model::{Principal, Region, TunnelSpec};
use tokio::sync::{Semaphore, watch};

use crate::clock::Now;
use crate::engine::Ports;
use crate::history::History;
use crate::ports::AwsScope;
use crate::publish::Publisher;
use crate::tasks::Tasks;
use crate::tunnel::payload_limits::PayloadLimits;
use crate::tunnel::politeness::Politeness;
use crate::tunnel::presence::Presence;
use crate::tunnel::unread_budget::UnreadBudget;

/// The world, the settings, and what was learnt of both.
pub(crate) struct Context {
    pub(crate) ports: Ports,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) publisher: Publisher,
    pub(crate) history: History,
    pub(crate) tasks: Tasks,
    pub(crate) politeness: Arc<Politeness>,
    pub(crate) presence: Presence,
    /// Places for calls to TerminateSession.
    pub(crate) endings: Semaphore,
    pub(crate) payload_limits: PayloadLimits,
    pub(crate) unread: UnreadBudget,
}

impl Context {
    pub(crate) fn now(&self) -> Now {
        Now::read(self.ports.clock.as_ref())
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Whose credentials a tunnel uses. A region that is absent is found by the adapter, from the profile.
    pub(crate) fn scope(&self, spec: &TunnelSpec) -> AwsScope {
        let profile = spec.profile.clone().or_else(|| self.settings().default_profile.clone());
        AwsScope { profile, region: spec.region.clone() }
    }

    pub(crate) fn session_config(&self, scope: &AwsScope) -> Config {
        let settings = self.settings();
        Config {
            payload_size: settings.payload_bytes as usize,
            payload_limit: self.payload_limits.of(scope, self.now().mono),
            message_rate: (settings.message_rate > 0).then(|| MessageRate::new(settings.message_rate)),
            handshake_timeout: settings.connect_timeout,
            half_close_grace: settings.half_close_grace,
            stalled_reader_grace: settings.stalled_reader_grace,
            ..Config::default()
        }
    }

    /// Calls of that scope count for the account of that principal.
    pub(crate) fn learn_account(&self, scope: &AwsScope, principal: &Principal, region: &Region) {
        if let Some(account) = principal.account() {
            self.politeness.learn(scope, account, region, self.now().mono);
        }
    }

    pub(crate) fn learn_payload_limit(&self, scope: &AwsScope, limit: usize) {
        self.payload_limits.learn(scope, limit, self.now().mono);
    }
}
