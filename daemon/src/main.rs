//! `stormtunneld`. What has to happen while there is one thread happens here; the rest is [`stormtunneld::app`].

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rustix::fs::Mode;
use stormtunneld::args::Args;
use stormtunneld::paths::Paths;
use stormtunneld::service::Service;
use stormtunneld::{app, detach, environment, manual, purge, service};

/// What may still run on a thread of its own when all is done: a name look-up, a read of a network disk.
const LEFTOVERS: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    // Before any thread and any file: nothing of ours is ever open to others, not even for a moment.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let args = Args::parse();
    run(&args).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "stormtunneld: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.man_page {
        std::io::stdout().write_all(manual::page()?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.detach {
        return Ok(detach::launch(args.aws_variables())?);
    }
    if args.purge {
        purge::purge(&Paths::resolve(args)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    environment::enter_clean(args.aws_variables())?;
    let inherited = service::inherit();
    // A daemon in the background is nobody's service, whoever started the program that started it.
    let service = if args.detached { Service::none() } else { inherited };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(app::run(args, service));
    runtime.shutdown_timeout(LEFTOVERS);
    Ok(outcome.map(|()| ExitCode::SUCCESS)?)
}
