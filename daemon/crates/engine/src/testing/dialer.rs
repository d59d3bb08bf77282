//! A dialer whose channels lead to the test.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use stormtunnel_model::{Fault, SsmSessionId};
use tokio::sync::Notify;

use super::{FarEnd, memory_channel};
use crate::ports::{AwsScope, BoxChannel, ChannelDialer, PortFuture, SessionGrant};

/// Messages each way that a channel holds.
const CHANNEL_CAPACITY: usize = 64;

/// A channel that the engine opened.
#[derive(Debug)]
pub struct Dialled {
    /// For which session.
    pub session: SsmSessionId,
    /// The gateway's end.
    pub far_end: FarEnd,
}

/// Opens every channel unless told otherwise. The far ends wait for the test; until it takes them they stay open.
#[derive(Debug, Default)]
pub struct ScriptedDialer {
    failures: Mutex<VecDeque<Fault>>,
    dialled: Mutex<VecDeque<Dialled>>,
    news: Notify,
}

impl ScriptedDialer {
    /// Lets the next dial fail.
    pub fn fail_next(&self, fault: Fault) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// The next channel that the engine opened, or opens.
    pub async fn dialled(&self) -> Dialled {
        loop {
            let news = self.news.notified();
            if let Some(dialled) = self.dialled.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return dialled;
            }
            news.await;
        }
    }

    fn dial_now(&self, grant: &SessionGrant) -> Result<BoxChannel, Fault> {
        if let Some(fault) = self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            return Err(fault);
        }
        let (channel, far_end) = memory_channel(CHANNEL_CAPACITY);
        let dialled = Dialled { session: grant.id.clone(), far_end };
        self.dialled.lock().unwrap_or_else(PoisonError::into_inner).push_back(dialled);
        self.news.notify_one();
        Ok(Box::pin(channel))
    }
}

impl ChannelDialer for ScriptedDialer {
    fn dial<'a>(
        &'a self,
        _scope: &'a AwsScope,
        grant: &'a SessionGrant,
    ) -> PortFuture<'a, Result<BoxChannel, Fault>> {
        Box::pin(std::future::ready(self.dial_now(grant)))
    }
}
