//! Binding a local end. A port that the system chose is stored before anybody sees it: it is the tunnel's from then on,
//! whatever happens to the daemon.

use std::sync::Arc;

use stormtunnel_model::{BoundAddress, Fault, FaultKind, LocalEndpoint, TunnelId};
use tokio::sync::{mpsc, oneshot};

use crate::ports::{BindError, LocalListener};
use crate::tunnel::context::Context;
use crate::tunnel::mailbox::PortChosen;

/// How many ports are tried when the system chooses ones that other tunnels claim, which do not listen now.
const TRIES: usize = 16;

/// What a bind is for.
#[derive(Clone)]
pub(crate) struct Binding {
    pub(crate) context: Arc<Context>,
    pub(crate) tunnel: TunnelId,
    /// To the supervisor, which knows all tunnels.
    pub(crate) chosen: mpsc::Sender<PortChosen>,
}

impl Binding {
    pub(crate) async fn bind(self, local: LocalEndpoint) -> Result<Box<dyn LocalListener>, BindError> {
        for _ in 0..TRIES {
            let listener = self.context.ports.network.bind(local.clone()).await?;
            let port = listener.addresses().first().and_then(BoundAddress::port);
            let Some(port) = port.filter(|_| local.is_automatic()) else { return Ok(listener) };
            if self.keeps(port).await {
                return Ok(listener);
            }
        }
        let kind =
            FaultKind::PortInUse { address: local.to_string(), holder: Some("other tunnels".to_owned()) };
        Err(BindError(Fault::new(kind, "")))
    }

    /// Whether the port is the tunnel's now. Nobody answers while the daemon ends, or for a tunnel that is deleted: then it
    /// does not matter.
    async fn keeps(&self, port: u16) -> bool {
        let (reply, kept) = oneshot::channel();
        let chosen = PortChosen { tunnel: self.tunnel, port, kept: reply };
        let _supervisor_gone = self.chosen.send(chosen).await;
        kept.await.unwrap_or(true)
    }
}
