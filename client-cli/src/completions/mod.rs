//! Completion of command lines: `stctl completions SHELL` prints a script, and the script asks the program again with each
//! press of the key, through the variable [`VARIABLE`].
//!
//! The engine of clap_complete wants its values at once, the daemon answers when it answers. So the engine runs with no
//! names first, which shows the kinds that are wanted; these are asked for, within [`LIMIT`], and it runs again with them.
//! Whatever goes wrong on the way, the shell gets what is known without it, and not a word else.

mod names;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::Command;
use clap::{CommandFactory, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use tokio::time::{Instant, timeout_at};

use self::names::{Kind, Names, Source};
use crate::autostart::{self, Plan};
use crate::cli::{Cli, Globals, Shell};
use crate::context::Paths;
use crate::output::Output;
use crate::world::{Environment, World};

/// What the scripts set to the name of their shell when they ask.
pub(crate) const VARIABLE: &str = "STCTL_COMPLETE";

/// What the scripts of most shells say about the place of the cursor: the index of its word. Of the library's choosing.
const INDEX_VARIABLE: &str = "_CLAP_COMPLETE_INDEX";

/// Longest wait for the daemon. Whoever presses a key notices 300 ms, of which starting the program takes its part.
const LIMIT: Duration = Duration::from_millis(200);

/// The script for a shell. It finds the program by its name, as the user does, so that packages can ship it.
pub(crate) fn script(shell: Shell) -> io::Result<String> {
    let mut script = Vec::new();
    match shell {
        // The library's does not know that bash takes words apart at "=" and ":".
        Shell::Bash => return Ok(include_str!("stctl.bash").replace("VAR", VARIABLE)),
        Shell::Zsh | Shell::Fish | Shell::Elvish | Shell::Powershell => {
            adapter(shell).write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
        }
    }
    if shell == Shell::Zsh {
        // As a file of $fpath it is the body of the function itself, which has to do its work the first time, too.
        script.extend_from_slice(
            b"\nif [[ $funcstack[1] == _stctl ]]; then _clap_dynamic_completer_stctl \"$@\"; fi\n",
        );
    }
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// The name of the program.
const NAME: &str = "stctl";

fn adapter(shell: Shell) -> &'static dyn EnvCompleter {
    match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Elvish => &Elvish,
        Shell::Powershell => &Powershell,
    }
}

/// Other names of a command are taken, but not proposed: the engine would show one of them in place of its name.
fn without_aliases(command: Command) -> Command {
    // The grammar borrows for ever, which is not long here: the program ends with its answer.
    let aliases: Vec<&str> = command.get_visible_aliases().map(|alias| &*alias.to_owned().leak()).collect();
    command.visible_alias(None).aliases(aliases)
}

/// A shell's question: what can stand at the cursor.
#[derive(Debug)]
pub(crate) struct Question {
    shell: Shell,
    /// The command line, the program's name first.
    words: Vec<OsString>,
    /// Which of them the cursor is in, or the one behind them.
    index: usize,
}

impl Question {
    /// The question that this command line is, if it is one: `stctl -- WORDS`, with [`VARIABLE`].
    pub(crate) fn of(args: &[OsString], env: &Environment) -> Option<Self> {
        let shell = Shell::from_str(&env.text(VARIABLE)?, false).ok()?;
        let [_program, dashes, words @ ..] = args else { return None };
        if dashes != "--" || words.is_empty() {
            return None;
        }
        let index = env.text(INDEX_VARIABLE).and_then(|text| text.parse().ok());
        Some(Self { shell, words: words.to_vec(), index: index.unwrap_or(words.len() - 1) })
    }

    /// Tells the shell what can stand there.
    pub(crate) async fn answer(&self, world: &mut World<'_>) {
        let deadline = Instant::now() + LIMIT;
        let names = Arc::new(Names::default());
        let without_names = self.run(&names);
        let wanted = names.wanted();
        let answer = if wanted.is_empty() {
            without_names
        } else {
            let known = self.known(wanted, world, deadline).await;
            self.run(&Arc::new(Names::of(known)))
        };
        // A shell that does not listen any more has no use for it.
        drop(Output::plain(world).text(&answer));
    }

    /// The names that the daemon tells in time.
    async fn known(
        &self,
        wanted: Vec<Kind>,
        world: &World<'_>,
        deadline: Instant,
    ) -> BTreeMap<Kind, Vec<names::Value>> {
        let mut known: BTreeMap<_, _> = wanted.iter().map(|kind| (*kind, Vec::new())).collect();
        let Ok(paths) = Paths::resolve(&self.globals(), world.platform, |name| world.env.value(name)) else {
            return known;
        };
        let plan =
            Plan { paths: &paths, env: &world.env, programs: world.programs, platform: world.platform };
        // There is no time to ask the service manager.
        let Ok(Ok(client)) = timeout_at(deadline, autostart::connect_to_running(&plan, |_| true)).await
        else {
            return known;
        };
        for kind in wanted {
            if let Ok(Ok(values)) = timeout_at(deadline, kind.values(&client)).await {
                known.insert(kind, values);
            }
        }
        known
    }

    /// The flags that say where the daemon is.
    fn globals(&self) -> Globals {
        let matches = Cli::command().ignore_errors(true).try_get_matches_from(self.before());
        let socket = matches.ok().and_then(|matches| matches.get_one::<PathBuf>("socket").cloned());
        Globals { socket, ..Globals::default() }
    }

    /// The words before that of the cursor.
    fn before(&self) -> &[OsString] {
        self.words.get(..self.index).unwrap_or(&self.words)
    }

    /// One run of the engine.
    fn run(&self, names: &Arc<Names>) -> String {
        let mut program = Cli::command();
        program.build();
        let mut program = self.prepared(program, names);
        let mut answer = Vec::new();
        let directory = std::env::current_dir().ok();
        let words = self.words.clone();
        match adapter(self.shell).write_complete(&mut program, words, directory.as_deref(), &mut answer) {
            Ok(()) => String::from_utf8_lossy(&answer).into_owned(),
            Err(_nothing_fits) => String::new(),
        }
    }

    /// The program, with arguments that know where their values come from. Flags are hidden unless one is begun: the engine
    /// shows what is hidden only where there is nothing else.
    fn prepared(&self, command: Command, names: &Arc<Names>) -> Command {
        let path = command.get_name().to_owned();
        let typed = self.words.get(self.index);
        let is_flag = typed.is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
        let with_values = |arg: clap::Arg| {
            let arg = if is_flag { arg } else { arg.hide(true) };
            match names::source(&path, arg.get_id().as_str()) {
                Some(source) => arg.add(self.completer(source, names)),
                None => arg,
            }
        };
        command.mut_args(with_values).mut_subcommands(|sub| self.prepared(without_aliases(sub), names))
    }

    fn completer(&self, source: Source, names: &Arc<Names>) -> ArgValueCompleter {
        let names = Arc::clone(names);
        let before: Vec<String> =
            self.before().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        ArgValueCompleter::new(move |typed: &OsStr| -> Vec<CompletionCandidate> {
            let Some(typed) = typed.to_str() else { return Vec::new() };
            let values = match &source {
                Source::Live(kind) => names.offer(*kind, typed, &before),
                Source::Fixed(values) => values.iter().map(|value| names::Value::bare(*value)).collect(),
                Source::Help => names::helped(&before),
            };
            let fitting = values.into_iter().filter(|value| value.text.starts_with(typed));
            fitting.map(names::Value::candidate).collect()
        })
    }
}
