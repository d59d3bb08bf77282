//! What the program tells about itself: completion scripts, manual pages, and help on commands and topics. It needs no
//! daemon and no files of its own, so that it also works where neither can be.

mod facts;
mod pages;
mod text;
mod topics;

use std::fs;
use std::io;
use std::path::Path;

use clap::{CommandFactory, Parser};
use stormtunnel_model::ExitCode;

pub(crate) use self::topics::Topic;
use crate::cli::{Cli, ManualVerb};
use crate::completions;
use crate::exit::{Failure, Problem, quoted};
use crate::output::Output;

/// Tells what was asked for.
pub(crate) fn run(out: &mut Output<'_>, verb: &ManualVerb) -> Result<ExitCode, Failure> {
    match verb {
        ManualVerb::Completions { shell } => {
            let script = completions::script(*shell).map_err(|error| {
                let headline = format!("the script cannot be made: {error}");
                Failure::from(Problem::failure("runtime", headline))
            })?;
            out.text(&script)?;
            Ok(ExitCode::Ok)
        }
        ManualVerb::ManPages { directory } => write_pages(directory),
        ManualVerb::Help { words } => help(out, words),
    }
}

fn write_pages(directory: &Path) -> Result<ExitCode, Failure> {
    let written = |path: &Path, result: io::Result<()>| {
        result.map_err(|error| {
            let headline = format!("{} cannot be written: {error}", path.display());
            Failure::from(Problem::failure("runtime", headline))
        })
    };
    written(directory, fs::create_dir_all(directory))?;
    for page in pages::all().map_err(|error| Failure::from(Problem::failure("runtime", error.to_string())))? {
        let path = directory.join(page.name);
        written(&path, fs::write(&path, page.text))?;
    }
    Ok(ExitCode::Ok)
}

/// The help of a command is what its `--help` says.
fn help(out: &mut Output<'_>, words: &[String]) -> Result<ExitCode, Failure> {
    if let [word] = words
        && let Some(topic) = Topic::named(word)
    {
        out.text(&topic.text())?;
        if Cli::command().find_subcommand(word).is_none() {
            return Ok(ExitCode::Ok);
        }
        // A command of that name has its help, too.
        out.text(&format!("\nThe command `stctl {word}`\n\n"))?;
    } else if let Some(word) = words.first().filter(|word| Cli::command().find_subcommand(word).is_none()) {
        let topics = Topic::ALL.map(Topic::name).join(", ");
        let remedy = format!("`stctl --help` lists the commands; the topics are {topics}");
        return Err(Problem::usage(format!("there is no help on {}", quoted(word)), &remedy).into());
    }
    let line = ["stctl"].into_iter().chain(words.iter().map(String::as_str)).chain(["--help"]);
    Ok(Cli::try_parse_from(line).map_or_else(|said| out.usage(&said), |_no_help| ExitCode::Ok))
}
