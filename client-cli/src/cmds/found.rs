//! What was found, or done, of each tunnel that a command is about, and what went wrong with others.

use serde::Serialize;
use stormtunnel_model::ExitCode;
use stormtunnel_proto::CallError;

use super::Ending;
use crate::cli::{Format, Selection};
use crate::exit::{Failure, Problem, Subject};
use crate::output::Output;

/// Something of each tunnel, and problems.
pub(super) struct Found<T> {
    items: Vec<T>,
    problems: Vec<Problem>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { items: Vec::new(), problems: Vec::new() }
    }
}

impl<T> Found<T> {
    /// Keeps what a call about this tunnel answered. A daemon that is lost is the end; a fault is one of this tunnel.
    pub(super) fn add(&mut self, answer: Result<T, CallError>, requested: &str) -> Result<(), Failure> {
        match answer {
            Ok(item) => self.items.push(item),
            Err(CallError::Fault(fault)) => {
                self.problems.push(Problem::of_fault(&fault, Subject::named(requested)));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Tells what was found and then what was not, with its exit code. Programs get one document where one tunnel is named,
    /// else a list: the command line decides that, and not how many there are.
    pub(super) fn tell<V: Serialize>(
        self,
        out: &mut Output<'_>,
        selection: &Selection,
        text: impl Fn(&T) -> String,
        view: impl Fn(&T) -> V,
        name: impl Fn(&T) -> String,
    ) -> Ending {
        let Self { items, problems } = self;
        let views = || items.iter().map(view).collect::<Vec<V>>();
        match (out.format, items.as_slice()) {
            (Format::Json | Format::Yaml, _) if !selection.is_of_one() => out.document(&views())?,
            (Format::Json | Format::Yaml, []) => {}
            (Format::Json | Format::Yaml, _) => views().iter().try_for_each(|view| out.document(view))?,
            (Format::Table | Format::Wide, []) if problems.is_empty() => {
                out.note("there are no tunnels; `stctl tunnel add` makes one");
            }
            (Format::Table | Format::Wide, items) => {
                out.text(&items.iter().map(text).collect::<Vec<_>>().join("\n"))?;
            }
            (Format::Name, items) => items.iter().try_for_each(|item| out.text(&name(item)))?,
        }
        problems.iter().for_each(|problem| out.problem(problem));
        Ok(problems.iter().map(|problem| problem.exit).max().unwrap_or(ExitCode::Ok))
    }
}
