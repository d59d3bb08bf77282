//! The grammar of `settings`.

use clap::Subcommand;

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum SettingsVerb {
    /// Show settings; of a single one only the value
    #[command(after_help = "Examples:\n  stctl settings get\n  stctl settings get tunnels.connect_timeout")]
    Get {
        /// Keys; without any, all settings
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Change a setting, at once and for good
    #[command(after_help = "Example:\n  stctl settings set tunnels.connect_timeout 60")]
    Set {
        /// Which setting
        key: String,
        /// New value
        value: String,
    },
    /// Take settings out of the file: their defaults hold again
    #[command(after_help = "Example:\n  stctl settings unset tunnels.connect_timeout")]
    Unset {
        /// Which settings
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
    /// Print the path of the settings file
    #[command(after_help = "Example:\n  $EDITOR \"$(stctl settings path)\"")]
    Path,
}
