//! Programs in a directory of their own, as a package has them there, which an upgrade replaces.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Names a directory with the programs of an earlier build.
const PREVIOUS: &str = "STORMTUNNEL_PREVIOUS_BIN_DIR";

/// `stctl` and `stormtunneld`, installed.
#[derive(Debug)]
pub struct Installation {
    directory: PathBuf,
    previous: PathBuf,
}

impl Installation {
    /// Installs the previous build in a new directory: those of `STORMTUNNEL_PREVIOUS_BIN_DIR`, and where nothing names any, copies of the present
    /// ones, which are other files as well.
    ///
    /// # Errors
    /// The programs cannot be copied.
    pub fn of_previous(directory: PathBuf, present: &Path) -> Result<Self> {
        let previous = std::env::var_os(PREVIOUS).map_or_else(|| present.to_owned(), PathBuf::from);
        fs::create_dir(&directory)?;
        let installed = Self { directory, previous };
        installed.take(&installed.previous)?;
        Ok(installed)
    }

    /// Whether the previous build is another one than the present.
    #[must_use]
    pub fn is_of_another_build() -> bool {
        std::env::var_os(PREVIOUS).is_some()
    }

    /// Puts the programs of that directory in the place of these, one after the other and each at once, as a package manager
    /// does.
    ///
    /// # Errors
    /// They cannot be copied.
    pub fn take(&self, from: &Path) -> Result<()> {
        for name in ["stctl", "stormtunneld"] {
            let (source, new) = (from.join(name), self.directory.join(format!("{name}.new")));
            fs::copy(&source, &new).with_context(|| format!("copy {}", source.display()))?;
            fs::rename(&new, self.directory.join(name))?;
        }
        Ok(())
    }

    /// The command line of the previous build, which an upgrade does not replace.
    #[must_use]
    pub fn previous_stctl(&self) -> PathBuf {
        self.previous.join("stctl")
    }

    /// The command line.
    #[must_use]
    pub fn stctl(&self) -> PathBuf {
        self.directory.join("stctl")
    }

    /// The daemon.
    #[must_use]
    pub fn stormtunneld(&self) -> PathBuf {
        self.directory.join("stormtunneld")
    }
}
