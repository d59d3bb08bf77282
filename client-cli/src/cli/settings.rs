//! The grammar of `settings`.

use clap::Subcommand;

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum SettingsVerb {
    /// Show settings; of a single one, only its value
    #[command(after_help = "Examples:\n  stctl settings get\n  stctl settings get tunnels.connect_timeout")]
    Get {
        /// Keys of settings; by default all
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Change a setting; it takes effect at once and is saved
    #[command(after_help = "Example:\n  stctl settings set tunnels.connect_timeout 60")]
    Set {
        /// Key of the setting
        key: String,
        /// New value
        value: String,
    },
    /// Return settings to their defaults
    #[command(after_help = "Example:\n  stctl settings unset tunnels.connect_timeout")]
    Unset {
        /// Keys of the settings
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
    /// Edit the settings file with VISUAL or EDITOR; what is wrong is refused, and the old settings stay in force
    ///
    /// You edit a copy, in which a new file begins with all settings as comments. The daemon checks it when you leave the editor;
    /// a text that it refuses can be edited again, or is kept. An editor that returns at once needs its flag to wait: EDITOR="code
    /// --wait".
    #[command(after_help = "Example:\n  stctl settings edit")]
    Edit,
    /// Print the path of the settings file
    #[command(after_help = "Example:\n  $EDITOR \"$(stctl settings path)\"")]
    Path,
}
