//! The command line of StormTunnel.
//!
//! It does nothing that another front end could not do: it talks to the daemon over the API, starts the daemon when none
//! runs, and words what comes back. It never reads the daemon's state and never calls AWS.
//!
//! Where to look: [`cli`] is the grammar, `cmds/` has one file per verb, `render/` turns tunnels and failures into text
//! (pure), [`exit`] holds failures with their exit codes, `autostart` and `diagnose` deal with a daemon that is not there,
//! `service` with systemd and launchd, `completions` and `manual` with what shells and readers of manuals ask, `ends` with
//! Ctrl-C and closed pipes, `status_line` with a person who waits.

mod autostart;
mod browser;
pub mod cli;
mod cmds;
mod completions;
mod context;
mod diagnose;
mod ends;
pub mod exit;
mod follow;
mod lock;
mod manual;
mod output;
mod prompts;
pub mod render;
mod service;
mod status_line;
pub mod world;

use std::ffi::OsString;
use std::io;
use std::process;

use clap::Parser;
use stormtunnel_model::ExitCode;

use crate::cli::{Cli, Format, Globals, Verb};
use crate::completions::Question;
use crate::context::Context;
use crate::ends::End;
use crate::exit::{Failure, Problem};
use crate::output::Output;
use crate::world::World;

/// The program: arguments, environment and terminal are those of the process.
pub fn main() -> process::ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut world = World::of_process(&mut out, &mut err);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(run(std::env::args_os(), &mut world));
            // A blocked read of a child's output must not hold the program up.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            let problem = Problem::failure("runtime", format!("the program cannot start: {error}"));
            Output::plain(&mut world).problem(&problem);
            ExitCode::Failure
        }
    };
    process::ExitCode::from(code as u8)
}

/// Runs one command line in `world` and answers its exit code.
pub async fn run(args: impl IntoIterator<Item = OsString>, world: &mut World<'_>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(question) = Question::of(&args, &world.env) {
        question.answer(world).await;
        return ExitCode::Ok;
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            let globals = Globals { output: Format::asked_for(&args), ..Globals::default() };
            return Output::new(world, &globals).usage(&error);
        }
    };
    if let Verb::Manual(verb) = &cli.verb {
        let mut out = Output::new(world, &cli.globals);
        let ending = manual::run(&mut out, verb);
        return concluded(ending, &mut out);
    }
    let mut context = match Context::new(&cli.globals, &cli.verb, world) {
        Ok(context) => context,
        Err(problem) => {
            Output::new(world, &cli.globals).problem(&problem);
            return problem.exit;
        }
    };
    let ends = context.ends.clone();
    let ending = tokio::select! {
        biased;
        end = ends.signal() => return ended_by(end, &mut context),
        () = ends.reader_gone(), if cli.verb.follows() => Err(Failure::ClosedPipe),
        ending = cmds::run(&mut context, &cli.verb) => ending,
    };
    match (ending, ends.told()) {
        // A program that was waited for got the signal as well, and failed of it.
        (Ok(code), Some(end)) if code != ExitCode::Ok => ended_by(end, &mut context),
        (Err(Failure::Problem(_)), Some(End::Interrupt)) => ended_by(End::Interrupt, &mut context),
        (Err(failure), Some(End::Terminate)) => {
            concluded(Err(failure), &mut context.out);
            ended_by(End::Terminate, &mut context)
        }
        (ending, _) => concluded(ending, &mut context.out),
    }
}

/// Tells a problem that is yet to be told.
fn concluded(ending: Result<ExitCode, Failure>, out: &mut Output<'_>) -> ExitCode {
    out.give_up_question();
    match ending {
        Ok(code) => code,
        Err(Failure::Problem(problem)) => {
            out.problem(&problem);
            problem.exit
        }
        // The reader of our output has all that it wanted.
        Err(Failure::ClosedPipe) => ExitCode::Ok,
    }
}

/// What was asked of the daemon stays asked, and whoever typed Ctrl-C may think otherwise.
fn ended_by(end: End, context: &mut Context<'_>) -> ExitCode {
    match end {
        End::Interrupt => context.out.interrupted(context.goes_on),
        End::Terminate => context.out.wiped(),
    }
    context.ends.pass_on(end);
    ExitCode::Interrupted
}
