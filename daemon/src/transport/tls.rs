//! TLS of data channels, made once and kept.

use std::sync::Arc;

use rustls::ClientConfig;
use stormtunnel_aws::client_config;
use stormtunnel_model::Fault;
use tokio::sync::Mutex;

/// Profiles may trust different authorities; so many configurations are kept, those that were made last.
const KEPT: usize = 8;

/// The last configurations made. Kept, because loading the system's authorities is slow (a third of a second on
/// macOS), and because TLS sessions resume only within one configuration.
#[derive(Default)]
pub(super) struct TlsConfigs {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    extra_roots: Option<Vec<u8>>,
    config: Arc<ClientConfig>,
}

impl TlsConfigs {
    /// The configuration that also trusts `extra_roots` (PEM).
    pub(super) async fn client_config(
        &self,
        extra_roots: Option<Vec<u8>>,
    ) -> Result<Arc<ClientConfig>, Fault> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.iter().find(|kept| kept.extra_roots == extra_roots) {
            return Ok(Arc::clone(&kept.config));
        }
        let roots = extra_roots.clone();
        let made = tokio::task::spawn_blocking(move || client_config(roots.as_deref())).await;
        let config =
            made.map_err(|error| Fault::internal(format!("loading certificates failed: {error}")))??;
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(Kept { extra_roots, config: Arc::clone(&config) });
        Ok(config)
    }
}
