//! `daemon logs`: what the daemon has written, where it is.

use std::path::Path;

use stormtunnel_model::ExitCode;
use stormtunnel_proto::paths::log_file;

use super::super::Ending;
use crate::context::Context;
use crate::exit::{Failure, Problem};
use crate::service::is_installed;

pub(super) fn logs(context: &mut Context<'_>, lines: u32, follow: bool) -> Ending {
    let service = context.service()?;
    let journal =
        service.log_reader(lines, follow).filter(|_| is_installed(service.as_ref(), &context.paths));
    drop(service);
    let (program, arguments) = match journal {
        Some((program, arguments)) => (program, arguments),
        None => ("tail", tail(&log_file(&context.paths.state_dir), lines, follow)?),
    };
    match context.programs.show(Path::new(program), &arguments) {
        Ok(0) => Ok(ExitCode::Ok),
        // It has said why.
        Ok(_) => Ok(ExitCode::Failure),
        Err(error) => {
            let headline = format!("`{program}` cannot be run to show the log");
            Err(Problem { detail: error.to_string(), ..Problem::failure("runtime", headline) }.into())
        }
    }
}

fn tail(log: &Path, lines: u32, follow: bool) -> Result<Vec<String>, Failure> {
    if !log.exists() {
        let headline = format!("there is no log {}", log.display());
        let remedy = "a daemon in the background writes one, `stctl daemon run` writes to its terminal";
        return Err(Problem { remedy: remedy.to_owned(), ..Problem::failure("no_log", headline) }.into());
    }
    let mut arguments = vec!["-n".to_owned(), lines.to_string()];
    // By name: the file is put aside when it is full.
    arguments.extend(follow.then(|| "-F".to_owned()));
    arguments.push(log.display().to_string());
    Ok(arguments)
}
