//! The one place that writes: standard output carries what was asked for, standard error everything else.

use std::io::{self, Write};

use serde::Serialize;
use stormtunnel_model::{ExitCode, Timestamp};

use crate::cli::{Format, Globals};
use crate::exit::{Failure, Problem};
use crate::render::wrap::wrapped;
use crate::render::{Style, problems};
use crate::status_line::{StatusLine, Waiting};
use crate::world::{Terminal, World};

/// Where a command's words go, and how they look.
pub(crate) struct Output<'o> {
    out: &'o mut dyn Write,
    err: &'o mut dyn Write,
    /// What the user asked for with `-o`.
    pub(crate) format: Format,
    /// Columns to fit tables into.
    pub(crate) width: Option<u16>,
    /// Columns to fit remarks and problems into.
    err_width: Option<u16>,
    status: StatusLine,
    /// The question that waits for its answer at the end of a line.
    question: Option<String>,
    out_style: Style,
    err_style: Style,
    clock: fn() -> Timestamp,
}

impl<'o> Output<'o> {
    /// As the flags say.
    pub(crate) fn new(world: &'o mut World<'_>, globals: &Globals) -> Self {
        let terminal = world.terminal;
        let style = |colour: bool| Style { colour: colour && !globals.no_color };
        let Terminal { width, err_width, out_colour, err_colour } = terminal;
        Self {
            status: StatusLine::on(world.status.take()),
            out: &mut *world.out,
            err: &mut *world.err,
            format: globals.output,
            width,
            err_width,
            question: None,
            out_style: style(out_colour),
            err_style: style(err_colour),
            clock: world.clock,
        }
    }

    /// Before flags are known.
    pub(crate) fn plain(world: &'o mut World<'_>) -> Self {
        Self::new(world, &Globals::default())
    }

    /// How standard output may look.
    pub(crate) fn style(&self) -> Style {
        self.out_style
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Tells a person in a terminal what is waited for, once it takes more than a second and until the answer is dropped.
    pub(crate) fn waits_for(&mut self, what: &str) -> Waiting {
        // A command waits on when it has the answer, or does without.
        self.give_up_question();
        self.status.wait(what)
    }

    /// Leaves nothing of that on the terminal.
    pub(crate) fn wiped(&self) {
        drop(self.status.quiet());
    }

    /// Text of whole lines on standard output; a closing line end is added where it is missing.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        let _quiet = self.status.quiet();
        end_line(self.err, self.question.as_deref());
        self.out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()?;
        ask(self.err, self.question.as_deref());
        Ok(())
    }

    /// The same in lines that fit the terminal; those that are broken go on below, `indent` columns in.
    pub(crate) fn words(&mut self, text: &str, indent: usize) -> Result<(), Failure> {
        self.text(&wrapped(text, self.width, indent))
    }

    /// A value as one document: JSON over several lines, or YAML.
    pub(crate) fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = match self.format {
            Format::Yaml => yaml(value),
            Format::Json | Format::Table | Format::Wide | Format::Name => {
                serde_json::to_string_pretty(value).map_err(|error| error.to_string())
            }
        };
        self.text(&text.map_err(not_written)?)
    }

    /// A value of a stream: one line of JSON, or one YAML document.
    pub(crate) fn record(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = match self.format {
            Format::Yaml => yaml(value).map(|text| format!("---\n{text}")),
            Format::Json | Format::Table | Format::Wide | Format::Name => {
                serde_json::to_string(value).map_err(|error| error.to_string())
            }
        };
        self.text(&text.map_err(not_written)?)
    }

    /// A remark for a person, on standard error; programs that asked for another format do not get it.
    pub(crate) fn note(&mut self, text: &str) {
        if self.format.is_for_people() {
            self.progress(&wrapped(text, self.err_width, 2));
        }
    }

    /// What a person has to see to go on, on standard error, whatever standard output is for.
    pub(crate) fn progress(&mut self, text: &str) {
        let _quiet = self.status.quiet();
        end_line(self.err, self.question.as_deref());
        ignore_unwritable(writeln!(self.err, "{text}").and_then(|()| self.err.flush()));
        ask(self.err, self.question.as_deref());
    }

    /// A question to a person, on standard error; the answer is typed behind it. What is written before that answer comes
    /// goes below, and the question is asked once more: the terminal keeps what was typed, and takes the rest.
    pub(crate) fn question(&mut self, text: &str) {
        let _quiet = self.status.ask();
        self.question = Some(text.to_owned());
        ask(self.err, Some(text));
    }

    /// Likewise what a person is to type.
    pub(crate) fn prompt(&mut self, text: &str) {
        self.question(&format!("{text}:"));
    }

    /// The question has its answer, with the line end that was typed.
    pub(crate) fn answered(&mut self) {
        self.question = None;
        self.status.answered();
    }

    /// Nobody waits for the answer any more, if a question is open: what comes next begins a line of its own.
    pub(crate) fn give_up_question(&mut self) {
        end_line(self.err, self.question.as_deref());
        self.answered();
    }

    /// Ctrl-C was typed; `left` is what goes on without this command, and may be nothing. What comes next in the terminal
    /// begins a line of its own, and not behind the "^C".
    pub(crate) fn interrupted(&mut self, left: &str) {
        let is_asking = self.question.is_some();
        self.answered();
        if is_asking || self.err_width.is_some() {
            self.progress("");
        }
        if !left.is_empty() {
            self.note(left);
        }
    }

    /// A problem, on standard error, in words or as one line of JSON.
    pub(crate) fn problem(&mut self, problem: &Problem) {
        let text = match self.format {
            Format::Json => problems::json(problem),
            Format::Yaml => problems::yaml(problem),
            Format::Table | Format::Wide | Format::Name => {
                problems::text(problem, self.err_style, self.err_width)
            }
        };
        self.progress(text.trim_end());
    }

    /// What clap says: help and version go to standard output, mistakes to standard error.
    pub(crate) fn usage(&mut self, error: &clap::Error) -> ExitCode {
        let to_err = error.use_stderr();
        if to_err && matches!(self.format, Format::Json | Format::Yaml) {
            self.problem(&Problem::of_usage(error));
            return ExitCode::Usage;
        }
        let style = if to_err { self.err_style } else { self.out_style };
        let rendered = error.render();
        let text = if style.colour { rendered.ansi().to_string() } else { rendered.to_string() };
        let stream: &mut dyn Write = if to_err { &mut *self.err } else { &mut *self.out };
        ignore_unwritable(stream.write_all(text.as_bytes()));
        if to_err { ExitCode::Usage } else { ExitCode::Ok }
    }
}

/// What is written next stands below an open question.
fn end_line(err: &mut dyn Write, question: Option<&str>) {
    if question.is_some() {
        ignore_unwritable(writeln!(err).and_then(|()| err.flush()));
    }
}

fn ask(err: &mut dyn Write, question: Option<&str>) {
    if let Some(question) = question {
        ignore_unwritable(write!(err, "{question} ").and_then(|()| err.flush()));
    }
}

fn yaml(value: &impl Serialize) -> Result<String, String> {
    serde_yaml_ng::to_string(value).map_err(|error| error.to_string())
}

fn not_written(error: String) -> Failure {
    Problem { detail: error, ..Problem::failure("runtime", "the answer cannot be written in this format") }
        .into()
}

/// When standard error itself cannot be written to there is nowhere left to say so.
fn ignore_unwritable(written: io::Result<()>) {
    drop(written);
}

#[cfg(test)]
mod tests {
    use stormtunnel_proto::paths::Platform;

    use super::*;
    use crate::world::{Ends, Environment, ProgramEnd, Programs};

    struct NoPrograms;

    impl Programs for NoPrograms {
        fn run(&self, _: &std::path::Path, _: &[String]) -> io::Result<ProgramEnd> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn show(&self, _: &std::path::Path, _: &[String]) -> io::Result<i32> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// What standard error shows of it.
    fn shown(write: impl FnOnce(&mut Output<'_>)) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut world = World {
            env: Environment::default(),
            out: &mut out,
            err: &mut err,
            terminal: Terminal::default(),
            in_container: false,
            answer: None,
            clock: Timestamp::default,
            platform: Platform::Linux,
            programs: &NoPrograms,
            ends: Ends::default(),
            status: None,
        };
        write(&mut Output::plain(&mut world));
        String::from_utf8(err).unwrap()
    }

    #[test]
    fn what_is_written_beside_a_question_leaves_it_last_until_it_is_answered() {
        let shown = shown(|out| {
            out.prompt("code");
            out.note("b: retrying");
            out.text("b is up").unwrap();
            out.answered();
            out.note("a is up");
        });
        assert_eq!(shown, "code: \nb: retrying\ncode: \ncode: a is up\n");
    }

    #[test]
    fn a_question_that_is_given_up_is_not_repeated() {
        let given_up = shown(|out| {
            out.prompt("code");
            out.give_up_question();
            out.give_up_question();
            out.note("the daemon stops");
        });
        assert_eq!(given_up, "code: \nthe daemon stops\n");
        let interrupted = shown(|out| {
            out.prompt("code");
            out.interrupted("it goes on");
        });
        assert_eq!(interrupted, "code: \nit goes on\n");
    }
}
