//! A place with an emulated AWS.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use anyhow::Result;
use aws_emulator::{Config, Emulator};

use crate::binaries::Parts;
use crate::place::Place;

/// An emulator and a place whose programs find it where AWS would be.
pub struct Sandbox {
    // Declared first, so dropped first: the daemon goes before its AWS.
    place: Place,
    emulator: Arc<Emulator>,
    /// Holds the file with the certificate of an emulator that serves TLS.
    _authority: Option<Arc<tempfile::TempDir>>,
}

impl Sandbox {
    /// Starts an emulator and makes a place for it. No daemon runs yet.
    ///
    /// # Errors
    /// As [`Place::new`], and when the emulator cannot start.
    pub async fn start(config: Config) -> Result<Self> {
        Self::start_with(Parts::All, config).await
    }

    /// The same with a daemon of these parts, if it is the first place of this process.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub async fn start_with(parts: Parts, mut config: Config) -> Result<Self> {
        let authority = if config.tls { Some(Arc::new(tempfile::tempdir()?)) } else { None };
        if let Some(directory) = &authority {
            config.ca_path.get_or_insert_with(|| directory.path().join("ca.pem"));
        }
        let emulator = Arc::new(Emulator::start(config).await?);
        let place = Place::with(parts, emulator.environment()).await?;
        Ok(Self { place, emulator, _authority: authority })
    }

    /// A second place on the same emulator: two daemons side by side.
    ///
    /// # Errors
    /// As [`Place::new`].
    pub async fn beside(&self) -> Result<Self> {
        let place = Place::new(self.emulator.environment()).await?;
        Ok(Self { place, emulator: Arc::clone(&self.emulator), _authority: self._authority.clone() })
    }

    /// The emulator.
    #[must_use]
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }
}

impl Deref for Sandbox {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl DerefMut for Sandbox {
    fn deref_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}
