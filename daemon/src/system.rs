//! Time and randomness of this machine.

use std::time::{Instant, SystemTime};

use stormtunnel_engine::ports::{Clock, Entropy};
use stormtunnel_model::Timestamp;

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn mono(&self) -> Instant {
        // The runtime's own reading, so that tests that pause its time pause this as well.
        tokio::time::Instant::now().into_std()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that all others are told to use")]
    fn wall(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// The machine's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// The machine has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoEntropy(#[source] getrandom::Error);

impl SystemEntropy {
    /// A source that has been seen to work: session keys and ids come from it.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn new() -> Result<Self, NoEntropy> {
        getrandom::fill(&mut [0; 1]).map_err(NoEntropy)?;
        Ok(Self)
    }
}

impl Entropy for SystemEntropy {
    fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        // It has worked before, and no system stops giving: a seed that is not random must never be used.
        if getrandom::fill(&mut seed).is_err() {
            std::process::abort();
        }
        seed
    }
}
