//! A system without programs: what they are asked is written down, and what they answer is scripted.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use stctl::world::{ProgramEnd, Programs};
use stormtunnel_proto::paths::Platform;

/// What a program does when its command line begins with these words.
type Script = (&'static str, Box<dyn Fn() -> ProgramEnd>);

/// The programs of one test.
pub(crate) struct System {
    pub(crate) platform: Platform,
    scripts: Vec<Script>,
    /// Whether programs without a script succeed; else there are none.
    has_programs: bool,
    /// Whether they are this machine's.
    is_real: bool,
    asked: Mutex<Vec<String>>,
}

impl Default for System {
    /// Without any program.
    fn default() -> Self {
        Self {
            platform: Platform::Linux,
            scripts: Vec::new(),
            has_programs: false,
            is_real: false,
            asked: Mutex::default(),
        }
    }
}

impl System {
    /// One on which all programs succeed and say nothing, but for those with a script.
    pub(crate) fn of(platform: Platform) -> Self {
        Self { platform, has_programs: true, ..Self::default() }
    }

    /// One with the programs of this machine.
    pub(crate) fn real() -> Self {
        Self { is_real: true, ..Self::default() }
    }

    /// A program that says this and succeeds.
    pub(crate) fn says(self, line: &'static str, stdout: &'static str) -> Self {
        self.does(line, move || ProgramEnd { stdout: stdout.to_owned(), ..ProgramEnd::default() })
    }

    /// A program that fails and says why.
    pub(crate) fn fails(self, line: &'static str, stderr: &'static str) -> Self {
        self.does(line, move || ProgramEnd { code: 1, stderr: stderr.to_owned(), ..ProgramEnd::default() })
    }

    /// A program that does something.
    pub(crate) fn does(mut self, line: &'static str, script: impl Fn() -> ProgramEnd + 'static) -> Self {
        self.scripts.push((line, Box::new(script)));
        self
    }

    /// All command lines until now, with programs by their file names; forgotten then.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Programs for System {
    fn run(&self, program: &Path, arguments: &[String]) -> io::Result<ProgramEnd> {
        let name = program.file_name().unwrap().to_str().unwrap().to_owned();
        let line = [vec![name], arguments.to_vec()].concat().join(" ");
        let script = self.scripts.iter().find(|(start, _)| line.starts_with(start));
        self.asked.lock().unwrap().push(line.clone());
        match script {
            Some((_, script)) => Ok(script()),
            None if self.is_real => {
                let status = Command::new(program).args(arguments).status()?;
                Ok(ProgramEnd { code: status.code().unwrap_or(-1), ..ProgramEnd::default() })
            }
            None if self.has_programs => Ok(ProgramEnd::default()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn show(&self, program: &Path, arguments: &[String]) -> io::Result<i32> {
        self.run(program, arguments).map(|end| end.code)
    }
}
