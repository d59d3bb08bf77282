//! What every command has: its output, the paths, and a way to the daemon.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use stormtunnel_model::{InvalidName, Profile, Region};
use stormtunnel_proto::paths::{self, Platform};
use stormtunnel_proto::{CallError, Client};

use crate::autostart::{self, Plan};
use crate::cli::{Globals, Verb};
use crate::cmds::waits;
use crate::exit::{Failure, OLDER_DAEMON, Problem};
use crate::output::Output;
use crate::prompts::Desk;
use crate::service::{Manager, is_installed};
use crate::world::{Answer, Ends, Environment, Programs, World};

/// Longest wait for the answer of one call. Stopping and deleting end sessions at AWS first.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// The same where a person may have to type codes meanwhile: the daemon waits two minutes for each.
pub(crate) const PERSON_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Shortest time that the daemon gets for its first answer, however short a wait the user allows: `--timeout 0` asks how
/// things are now, which takes a moment.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// What programs can rely on with `-o json` and `-o yaml`, as docs/output.md has it. Additions do not change it.
const OUTPUT_VERSION: &str = "1";

/// The flag that names a profile.
pub(crate) const PROFILE_FLAG: &str = "--profile";

/// What every command has.
pub(crate) struct Context<'o> {
    /// Where its words go.
    pub(crate) out: Output<'o>,
    /// The terminal's environment.
    pub(crate) env: Environment,
    /// The flags that any command takes.
    pub(crate) globals: Globals,
    /// Where the daemon's socket, state and settings are.
    pub(crate) paths: Paths,
    /// This program runs in a container.
    pub(crate) in_container: bool,
    /// The system's programs.
    pub(crate) programs: &'o dyn Programs,
    /// What ends the command from outside.
    pub(crate) ends: Ends,
    /// What goes on in the daemon if this command is interrupted now; may be nothing.
    pub(crate) goes_on: &'static str,
    /// Whose conventions hold.
    platform: Platform,
    /// Somebody who can be asked.
    answer: Option<Answer>,
}

/// Where the daemon's files are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The socket to connect to.
    pub(crate) socket: PathBuf,
    /// Given to a daemon that is started; never read here.
    pub(crate) state_dir: PathBuf,
    /// Given to a daemon that is started; never read here.
    pub(crate) config: PathBuf,
}

impl<'o> Context<'o> {
    pub(crate) fn new(
        globals: &Globals,
        verb: &Verb,
        world: &'o mut World<'_>,
    ) -> Result<Self, Box<Problem>> {
        let (env, answer, in_container) = (world.env.clone(), world.answer, world.in_container);
        let is_quiet = globals.no_input || env.text("STCTL_NO_INPUT").is_some();
        let answer = answer.filter(|_| !is_quiet);
        let (programs, platform, ends) = (world.programs, world.platform, world.ends.clone());
        if let Some(version) = env.text("STCTL_OUTPUT_VERSION").filter(|version| version != OUTPUT_VERSION) {
            let headline =
                format!("this stctl speaks version {OUTPUT_VERSION} of the output, and not \"{version}\"");
            let remedy = "STCTL_OUTPUT_VERSION asks for that one: use the stctl that the script was written for, or adapt the script";
            return Err(Box::new(Problem::usage(headline, remedy)));
        }
        if let Some(flag) = globals.meaningless_flag(verb) {
            let headline = format!("{flag} has no meaning for this command");
            let remedy = format!("leave it out; `stctl --help` says which commands take {flag}");
            return Err(Box::new(Problem::usage(headline, &remedy)));
        }
        let paths = Paths::resolve(globals, platform, |name| env.value(name))?;
        Ok(Self {
            out: Output::new(world, globals),
            env,
            globals: globals.clone(),
            paths,
            in_container,
            programs,
            ends,
            goes_on: "",
            platform,
            answer,
        })
    }

    /// Whether there is somebody who can be asked.
    pub(crate) fn has_person(&self) -> bool {
        self.answer.is_some()
    }

    /// Asks a person a question; nothing where nobody can be asked. Whatever is not a yes is a no.
    pub(crate) async fn ask(&mut self, question: &str) -> Result<Option<bool>, Failure> {
        let line = self.typed(&format!("{question} [y/N]")).await?;
        Ok(line.map(|line| matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
    }

    /// The line that a person types behind a question, with its end; nothing where nobody can be asked.
    pub(crate) async fn typed(&mut self, question: &str) -> Result<Option<String>, Failure> {
        let Some(answer) = self.answer else { return Ok(None) };
        self.out.question(question);
        // In a thread of its own: Ctrl-C ends the program meanwhile.
        let line = tokio::task::spawn_blocking(answer).await;
        let failed =
            |error: String| Problem::failure("runtime", format!("the answer cannot be read: {error}"));
        let line =
            line.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        self.out.answered();
        Ok(Some(line))
    }

    /// The person at this terminal, for what the daemon may have to know; nothing where there is none.
    pub(crate) async fn desk(&self, client: &Client) -> Option<Desk> {
        Desk::open(client, self.answer?).await
    }

    /// Waits for the answer to a call that may need something of a person: as long as one takes, where there is one.
    pub(crate) async fn attended<T>(
        &mut self,
        client: Client,
        call: impl AsyncFnOnce(&Client) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        match self.desk(&client).await {
            Some(desk) => {
                let patient = client.with_deadline(PERSON_DEADLINE);
                desk.during(&mut self.out, call(&patient)).await
            }
            None => call(&client).await,
        }
    }

    /// The profile asked for. It is resolved here: the daemon never sees this environment.
    pub(crate) fn profile(&self) -> Result<Option<Profile>, Failure> {
        Ok(self.chosen_profile()?.map(|(profile, _by)| profile))
    }

    /// The same with what named it.
    pub(crate) fn chosen_profile(&self) -> Result<Option<(Profile, &'static str)>, Failure> {
        match &self.globals.profile {
            Some(profile) => Ok(Some((profile.clone(), PROFILE_FLAG))),
            None => self.variable(&["STCTL_PROFILE", "AWS_PROFILE"]),
        }
    }

    /// The region asked for, likewise.
    pub(crate) fn region(&self) -> Result<Option<Region>, Failure> {
        match &self.globals.region {
            Some(region) => Ok(Some(region.clone())),
            None => Ok(self.variable(&["AWS_REGION", "AWS_DEFAULT_REGION"])?.map(|(region, _by)| region)),
        }
    }

    /// A connection to the daemon, which is started if none runs.
    pub(crate) async fn client(&mut self) -> Result<Client, Failure> {
        let _waiting = self.out.waits_for(waits::DAEMON);
        let autostart = self.env.text("STCTL_NO_AUTOSTART").is_none();
        let client = autostart::connect(&self.plan(), autostart).await;
        Ok(client.map_err(|error| error.problem())?.with_deadline(CALL_DEADLINE))
    }

    /// What the first of these variables that is set holds, and its name.
    fn variable<T>(&self, variables: &[&'static str]) -> Result<Option<(T, &'static str)>, Failure>
    where
        T: FromStr<Err = InvalidName>,
    {
        let found = variables.iter().find_map(|variable| Some((variable, self.env.text(variable)?)));
        let Some((variable, text)) = found else { return Ok(None) };
        text.parse().map(|value| Some((value, *variable))).map_err(|error| {
            let remedy = "correct or unset it, or use the flag";
            Problem::usage(format!("variable {variable}: {error}"), remedy).into()
        })
    }

    /// A connection to the daemon that runs; none is started.
    pub(crate) async fn running_client(&mut self) -> Result<Client, autostart::Unreachable> {
        let connected = autostart::connect_to_running(&self.plan(), |service| !service.state().active).await;
        Ok(connected?.with_deadline(CALL_DEADLINE))
    }

    /// The system's service manager.
    pub(crate) fn service(&self) -> Result<Box<dyn Manager + '_>, Failure> {
        self.plan().service()
    }

    /// How to get the daemon that belongs to this program where an older one runs.
    pub(crate) fn newer_daemon(&self) -> &'static str {
        match self.service() {
            Ok(service) if is_installed(service.as_ref(), &self.paths) => {
                "`stctl daemon install` has the service run the daemon that belongs to this stctl"
            }
            Ok(_) | Err(_) => "`stctl daemon restart` starts the daemon that belongs to this stctl",
        }
    }

    /// The failure, with the remedy that depends on what starts the daemon here.
    pub(crate) fn remedied(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Problem(problem) if problem.kind == OLDER_DAEMON => {
                Problem { remedy: self.newer_daemon().to_owned(), ..*problem }.into()
            }
            other @ (Failure::Problem(_) | Failure::ClosedPipe) => other,
        }
    }

    /// How a daemon is found and started.
    pub(crate) fn plan(&self) -> Plan<'_> {
        let Self { paths, env, programs, platform, .. } = self;
        Plan { paths, env, programs: *programs, platform: *platform }
    }
}

impl Paths {
    /// Flags first, then variables, then the system's conventions.
    pub(crate) fn resolve(
        globals: &Globals,
        platform: Platform,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Box<Problem>> {
        let boxed = |error: paths::PathError| Box::new(Problem::from(error));
        let socket = match &globals.socket {
            Some(path) => absolute(path)?,
            None => paths::socket(platform, &env).map_err(boxed)?,
        };
        paths::check_socket(platform, &socket).map_err(boxed)?;
        let state_dir = match &globals.state_dir {
            Some(path) => absolute(path)?,
            None => paths::state_dir(platform, &env).map_err(boxed)?,
        };
        let config = match &globals.config {
            Some(path) => absolute(path)?,
            None => paths::config_file(&env).map_err(boxed)?,
        };
        Ok(Self { socket, state_dir, config })
    }
}

/// A flag's path as seen from the working directory, which the daemon does not share.
fn absolute(path: &std::path::Path) -> Result<PathBuf, Box<Problem>> {
    std::path::absolute(path).map_err(|error| {
        let headline = format!("the path {} cannot be used: {error}", path.display());
        Box::new(Problem::usage(headline, "give an absolute path"))
    })
}
