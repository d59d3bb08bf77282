//! `settings edit`: the settings file in a person's editor, as `visudo` and `kubectl edit` do it.
//!
//! The person edits a copy. The daemon, whose file it is, takes all of it or refuses it, and nothing that was typed is lost.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use stormtunnel_model::ExitCode;
use stormtunnel_proto::calls::{ReplacedSettings, SettingsFile};

use super::super::Ending;
use super::show_changed;
use crate::context::Context;
use crate::exit::{Failure, Problem};

/// Editors that are looked for where no variable names one.
const EDITORS: [&str; 2] = ["vi", "nano"];

/// Copies of one process number that were kept and are in nobody's way.
const MOST_KEPT: u32 = 100;

/// What a shell ends with when there is no such program.
const NO_PROGRAM: i32 = 127;

pub(super) async fn run(context: &mut Context<'_>) -> Ending {
    if !context.has_person() {
        let remedy = "`stctl settings set KEY VALUE` changes a setting without an editor";
        return Err(Problem::usage("nobody is at a terminal to edit the settings", remedy).into());
    }
    // Before the file is read: what changes in between is noticed then.
    let file = context.client().await?.settings_file().await?;
    let original = original(&file)?;
    let copy = Copy::make(&file, original).map_err(|error| {
        let headline = format!("cannot make a copy beside {} to edit", file.path);
        Problem { detail: error.to_string(), ..Problem::failure("runtime", headline) }
    })?;
    context.out.progress(&format!("what you edit is a copy: {}", copy.path.display()));
    let ended = edit(context, &copy, &file).await;
    match ended {
        Err(Failure::Problem(problem)) if copy.is_of_use() => {
            Err(Problem { note: copy.is_kept(), ..*problem }.into())
        }
        ended => {
            // One that cannot be removed does no harm.
            let _ = fs::remove_file(&copy.path);
            ended
        }
    }
}

/// Until the daemon takes the text, or the person gives up.
async fn edit(context: &mut Context<'_>, copy: &Copy, file: &SettingsFile) -> Ending {
    loop {
        show_editor(context, &copy.path)?;
        let text = copy.text().map_err(|error| {
            let headline = format!("what you have written in {} cannot be read", copy.path.display());
            Problem { detail: error.to_string(), ..Problem::failure("runtime", headline) }
        })?;
        if text == copy.original {
            context.out.note("nothing was changed");
            return Ok(ExitCode::Ok);
        }
        // Once and for all: it is a copy of its own, and goes with the process.
        if context.goes_on.is_empty() {
            context.goes_on = copy.is_kept().leak();
        }
        // Another connection each time: a person takes longer than a daemon may live.
        let replaced = context.client().await?.replace_settings_file(text, file.etag.clone()).await?;
        match replaced {
            ReplacedSettings::Written(changed) => {
                if changed.is_empty() {
                    context.out.note(&format!("{} is written; no setting has changed", file.path));
                }
                return show_changed(context, &changed);
            }
            ReplacedSettings::Refused(problems) => {
                let path = copy.path.display().to_string();
                problems.iter().for_each(|problem| context.out.progress(&problem.in_file(&path)));
                if context.ask("edit again?").await? != Some(true) {
                    return Err(refused(file).into());
                }
            }
            ReplacedSettings::ChangedMeanwhile => return Err(changed_meanwhile(file).into()),
        }
    }
}

fn refused(file: &SettingsFile) -> Problem {
    let remedy = "mend what is named above, and `stctl settings edit` again";
    Problem::usage(format!("{} was not changed, and the old settings stay in force", file.path), remedy)
}

fn changed_meanwhile(file: &SettingsFile) -> Problem {
    Problem {
        exit: ExitCode::Conflict,
        remedy: "`stctl settings edit` again, and put in what you need of your own text".to_owned(),
        ..Problem::failure(
            "changed_meanwhile",
            format!("somebody has changed {} meanwhile; nothing was overwritten", file.path),
        )
    }
}

/// Runs the editor to its end.
fn show_editor(context: &Context<'_>, path: &Path) -> Result<(), Failure> {
    let _left = context.ends.left_to_program();
    let path = path.display().to_string();
    let named = ["VISUAL", "EDITOR"].into_iter().find_map(|name| Some((name, context.env.text(name)?)));
    if let Some((variable, editor)) = named {
        // Through a shell, since flags and quotes may be in it.
        let arguments = ["-c".to_owned(), format!("{editor} \"$1\""), "stctl".to_owned(), path];
        let ended = context.programs.show(Path::new("sh"), &arguments);
        return match ended {
            Ok(0) => Ok(()),
            Ok(NO_PROGRAM) => {
                Err(no_editor(format!("there is no editor `{editor}`, which {variable} names")))
            }
            Ok(code) => Err(failed(&editor, ended_with(code))),
            Err(error) => Err(failed(&editor, error.to_string())),
        };
    }
    for editor in EDITORS {
        match context.programs.show(Path::new(editor), std::slice::from_ref(&path)) {
            Ok(0) => return Ok(()),
            Ok(code) => return Err(failed(editor, ended_with(code))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(editor, error.to_string())),
        }
    }
    Err(no_editor(format!("there is no editor here: neither of {}", EDITORS.join(" and "))))
}

fn no_editor(headline: String) -> Failure {
    let remedy = "set VISUAL or EDITOR to one, or use `stctl settings set KEY VALUE`";
    Problem { remedy: remedy.to_owned(), ..Problem::failure("no_editor", headline) }.into()
}

fn ended_with(code: i32) -> String {
    if code < 0 { "a signal ended it".to_owned() } else { format!("it ended with {code}") }
}

fn failed(editor: &str, detail: String) -> Failure {
    let headline = format!("the editor `{editor}` failed, and the settings are as they were");
    Problem { detail, ..Problem::failure("runtime", headline) }.into()
}

/// What is there to be edited: the settings file, or what it begins with.
fn original(file: &SettingsFile) -> Result<String, Failure> {
    match fs::read_to_string(&file.path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(file.template.clone()),
        Err(error) => {
            let remedy = "make it a text in UTF-8 that you may read, or put it aside";
            let headline = format!("the settings file {} cannot be read", file.path);
            let failure = Problem::failure("runtime", headline);
            Err(Problem { detail: error.to_string(), remedy: remedy.to_owned(), ..failure }.into())
        }
    }
}

/// The text that is edited, in a file of its own beside the settings: it survives whatever happens, once something was
/// written in it.
struct Copy {
    path: PathBuf,
    original: String,
}

impl Copy {
    /// For the owner alone, since a proxy's password may be in it.
    fn make(file: &SettingsFile, original: String) -> io::Result<Self> {
        let settings = Path::new(&file.path);
        if let Some(directory) = settings.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let (path, mut copy) = new_beside(settings)?;
        if let Err(error) = copy.write_all(original.as_bytes()) {
            // Half of what is elsewhere is of no use.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { path, original })
    }

    /// What is said where nobody took what was written.
    fn is_kept(&self) -> String {
        format!("what you have written is kept in {}", self.path.display())
    }

    fn text(&self) -> io::Result<String> {
        fs::read_to_string(&self.path)
    }

    /// Whether there is something in it that is nowhere else.
    fn is_of_use(&self) -> bool {
        match self.text() {
            Ok(text) => text != self.original,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

impl Drop for Copy {
    /// However the command ends, nothing is left that is also elsewhere.
    fn drop(&mut self) {
        if !self.is_of_use() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new file with an ending by which editors know the language.
fn new_beside(settings: &Path) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    let mut number = 0;
    loop {
        // In a container each process may have the same number, and what another one kept is not overwritten.
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        let path = settings.with_extension(format!("edit-{process}{suffix}.toml"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_KEPT => number += 1,
            opened => return opened.map(|file| (path, file)),
        }
    }
}
