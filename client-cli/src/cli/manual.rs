//! The grammar of what tells about the program itself: `completions`, `man-pages` and `help`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// What to tell.
#[derive(Debug, Subcommand)]
pub enum ManualVerb {
    /// Print the script with which a shell completes the commands of stctl
    ///
    /// It completes commands and flags, and the names of tunnels, profiles, targets, sign-ins, labels and settings that there
    /// are. Those are asked of the daemon, for a fifth of a second at most; one that is not running is not started, and has
    /// no names.
    #[command(after_help = "Example:\n  \
            stctl completions fish | source\n\n\
            In the file that your shell reads at its start:\n  \
            bash, ~/.bashrc                   eval \"$(stctl completions bash)\"\n  \
            zsh, ~/.zshrc after compinit      eval \"$(stctl completions zsh)\"\n  \
            fish, ~/.config/fish/config.fish  stctl completions fish | source\n  \
            elvish, ~/.config/elvish/rc.elv   eval (stctl completions elvish | slurp)\n  \
            PowerShell, $PROFILE              stctl completions powershell |\n                                      \
            Out-String | Invoke-Expression")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual pages, one for each command, into a directory
    #[command(hide = true, after_help = "Example:\n  stctl man-pages target/man")]
    ManPages {
        /// The directory; made if it is not there
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
    /// Print the help of a command, or on a topic: exit-codes, selectors, targets, config, output
    #[command(after_help = "Examples:\n  stctl help tunnel add\n  stctl help exit-codes")]
    Help {
        /// A command such as `tunnel add`, or a topic
        #[arg(value_name = "COMMAND|TOPIC")]
        words: Vec<String>,
    },
}

/// A shell that completes command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash 3.2 or newer.
    Bash,
    /// Zsh, after `compinit`.
    Zsh,
    /// Fish.
    Fish,
    /// Elvish.
    Elvish,
    /// PowerShell 5 or newer.
    Powershell,
}
