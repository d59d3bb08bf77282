//! Who we are, as the test wants it.

use std::sync::atomic::{AtomicU32, Ordering};

use stormtunnel_model::{Fault, Principal};
use tokio::sync::watch;

use crate::ports::{AwsScope, Identity, PortFuture};

/// Tells what it was told to tell; until then nothing.
#[derive(Debug)]
pub struct ScriptedIdentity {
    answer: watch::Sender<Option<Result<Principal, Fault>>>,
    asked: AtomicU32,
}

impl Default for ScriptedIdentity {
    /// Of nobody: questions are received and not answered.
    fn default() -> Self {
        Self { answer: watch::Sender::new(None), asked: AtomicU32::new(0) }
    }
}

impl ScriptedIdentity {
    /// Answers all questions from now on, those that wait included.
    pub fn answer(&self, answer: Result<Principal, Fault>) {
        self.answer.send_replace(Some(answer));
    }

    /// Questions so far.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Identity for ScriptedIdentity {
    fn caller<'a>(&'a self, _scope: &'a AwsScope) -> PortFuture<'a, Result<Principal, Fault>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let mut answer = self.answer.subscribe();
            match answer.wait_for(Option::is_some).await.map(|answer| answer.clone()) {
                Ok(Some(answer)) => answer,
                // The sender lives as long as `self`.
                Ok(None) | Err(_) => Err(Fault::internal("the test is over")),
            }
        })
    }
}
