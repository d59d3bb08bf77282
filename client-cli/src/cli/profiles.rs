//! The grammar of `profiles`.

use clap::Args;

/// `profiles`
#[derive(Args, Debug)]
pub struct ProfilesArgs {
    /// Print each change as it happens, until interrupted
    #[arg(short, long)]
    pub watch: bool,
}
