//! Stores the history, behind everybody's back.

use std::time::Duration;

use stormtunnel_model::{EventKind, Fault, Statistics, TunnelId};

use super::{History, lock};
use crate::ports::HistoryBatch;
use crate::retry::Backoff;

/// Events of one transaction: few enough that nobody else waits long for the database.
const BATCH: usize = 256;
/// How often changed figures are stored when nothing happens.
const FIGURES_INTERVAL: Duration = Duration::from_secs(30);
/// Longest wait before a store that failed is tried again.
const RETRY_CAP: Duration = Duration::from_secs(60);

impl History {
    /// Stores what is recorded, as it comes. Never ends; what it leaves is for [`History::flush`].
    pub(crate) async fn keep(self, seed: [u8; 32]) {
        let mut latest = self.shared.latest.subscribe();
        let mut backoff = Backoff::new(seed);
        loop {
            latest.mark_unchanged();
            match self.store_once().await {
                Ok(true) => backoff.reset(),
                Ok(false) => {
                    // Either way there is something to look at.
                    let _event_or_interval = tokio::time::timeout(FIGURES_INTERVAL, latest.changed()).await;
                }
                Err(fault) => {
                    self.set_trouble(Some(fault));
                    tokio::time::sleep(backoff.next_wait(RETRY_CAP)).await;
                }
            }
        }
    }

    /// Stores what is left.
    pub(crate) async fn flush(&self) {
        while let Ok(true) = self.store_once().await {}
    }

    /// Stores the next events and the changed figures; answers whether there were any.
    async fn store_once(&self) -> Result<bool, Fault> {
        let figures = self.unstored_figures();
        let events = lock(&self.shared.log).take(BATCH);
        let batch = HistoryBatch { events, statistics: figures.clone() };
        if batch.is_empty() {
            return Ok(false);
        }
        self.shared.store.add_history(batch).await?;
        let lost = lock(&self.shared.log).put_away();
        self.put_away_figures(figures);
        self.set_trouble(None);
        if lost > 0 {
            self.record(None, EventKind::EventsLost { count: lost });
        }
        Ok(true)
    }

    fn unstored_figures(&self) -> Vec<(TunnelId, Statistics)> {
        let now = self.shared.clock.mono();
        let ledgers = lock(&self.shared.ledgers);
        ledgers.iter().filter_map(|(id, ledger)| Some((*id, ledger.unstored(now)?))).collect()
    }

    fn put_away_figures(&self, figures: Vec<(TunnelId, Statistics)>) {
        let ledgers = lock(&self.shared.ledgers);
        for (id, figures) in figures {
            if let Some(ledger) = ledgers.get(&id) {
                ledger.put_away(figures);
            }
        }
    }

    fn set_trouble(&self, trouble: Option<Fault>) {
        let mut known = lock(&self.shared.trouble);
        match (&*known, &trouble) {
            (None, Some(fault)) => tracing::warn!(%fault, "the event history cannot be stored"),
            (Some(_), None) => tracing::info!("the event history can be stored again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *known = trouble;
    }
}
