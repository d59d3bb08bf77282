//! The command line of StormTunnel; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    stctl::main()
}
