//! Sign-ins end to end: the AWS files of a person, a browser that nobody looks at, the tools that share the logins, and what the
//! daemon shows.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aws_emulator::RefreshAttempt;
use serde_json::Value;
use stormtunnel_model::{SignIn, SignInName, SignInState};
use stormtunnel_proto::calls::SignInWatchEvent;
use stormtunnel_proto::{Client, SignInWatch};
use tokio::process::Command;

use crate::scene::Scene;
use crate::{DEADLINE, process, programs};

/// The portal of an emulator with the usual settings.
pub const START_URL: &str = "https://d-1234567890.awsapps.com/start";
/// The sso-session there.
pub const SESSION: &str = "corp";
/// The profiles, each with its sign-in and the name of that one's token file: one of the sso-session, and three that have
/// their start URL inline, which are three sign-ins to every tool.
pub const PROFILES: [(&str, &str, &str); 4] = [
    ("dev", SESSION, "ee0bfd2552fbd840c02cc48b6e823320543c450f.json"),
    ("plain", START_URL, "7487b5b67d5fa1132cf33fa93ae51ef38cc37752.json"),
    ("slash", "https://d-1234567890.awsapps.com/start/", "ae4321de83751a696d13fbefb87d776773c41e1c.json"),
    ("hash", "https://d-1234567890.awsapps.com/start/#", "80db20643f72d3967a43ec12b64df41e9db38799.json"),
];

/// Longest run of a tool. Starting Python and loading the models of the services takes seconds on a busy machine.
const TOOL_DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

/// Writes `~/.aws/config` of a scene, as a person has it.
///
/// # Errors
/// It cannot be written.
pub fn write_profiles(scene: &Scene) -> Result<()> {
    let region = scene.emulator().region();
    let mut config = format!(
        "[sso-session {SESSION}]\nsso_start_url = {START_URL}\nsso_region = {region}\n\
         sso_registration_scopes = sso:account:access\n"
    );
    for (profile, sign_in, _) in PROFILES {
        let source = match sign_in {
            SESSION => format!("sso_session = {SESSION}\n"),
            url => format!("sso_start_url = {url}\nsso_region = {region}\n"),
        };
        config.push_str(&format!(
            "[profile {profile}]\n{source}sso_account_id = 123456789012\nsso_role_name = Developer\nregion = {region}\n"
        ));
    }
    let path = scene.sandbox().home().join(".aws/config");
    std::fs::write(&path, config)?;
    Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?)
}

/// A command that does with a login page what the browser of a person does who agrees to everything.
#[must_use]
pub fn browser(scene: &Scene) -> String {
    let variables = scene.sandbox().environment();
    let authority = variables.iter().find(|(name, _)| name == "AWS_CA_BUNDLE");
    let trust = authority.map(|(_, path)| format!("--cacert {path} ")).unwrap_or_default();
    format!("curl --silent --fail --location --output /dev/null {trust}")
}

/// Signs in with `stctl`.
///
/// # Errors
/// That fails.
pub async fn log_in(scene: &Scene, sign_in: &str) -> Result<()> {
    scene.ok(&["sso", "login", sign_in, "--browser", &browser(scene)]).await.map(drop)
}

/// The directory of the shared token files.
#[must_use]
pub fn cache(scene: &Scene) -> PathBuf {
    scene.sandbox().home().join(".aws/sso/cache")
}

/// Where the token of a sign-in is shared.
///
/// # Errors
/// It is none of [`PROFILES`].
pub fn token_path(scene: &Scene, sign_in: &str) -> Result<PathBuf> {
    let found = PROFILES.iter().find(|(_, known, _)| *known == sign_in);
    let (_, _, file) = found.with_context(|| format!("no profile uses {sign_in}"))?;
    Ok(cache(scene).join(file))
}

/// A shared token file.
pub struct TokenFile(Value);

impl TokenFile {
    /// Reads it.
    ///
    /// # Errors
    /// It is not there, or torn.
    pub fn read(scene: &Scene, sign_in: &str) -> Result<Self> {
        let path = token_path(scene, sign_in)?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self(serde_json::from_str(&text).with_context(|| format!("{} is torn", path.display()))?))
    }

    /// All its fields.
    #[must_use]
    pub fn fields(&self) -> &Value {
        &self.0
    }

    /// A field that is a text.
    ///
    /// # Errors
    /// There is none.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.0[name].as_str().with_context(|| format!("no {name} in the token file"))
    }

    /// How the emulator's list of refreshes names its refresh token.
    ///
    /// # Errors
    /// There is none.
    pub fn fingerprint(&self) -> Result<String> {
        Ok(RefreshAttempt::fingerprint(self.text("refreshToken")?))
    }
}

/// Sign-ins as the daemon shows them, from now on.
pub struct Shown {
    client: Client,
    watch: SignInWatch,
    present: BTreeMap<SignInName, SignIn>,
    history: Vec<SignIn>,
}

impl Shown {
    /// Follows the sign-ins of a scene's daemon, which is started.
    ///
    /// # Errors
    /// The daemon does not start.
    pub async fn start(scene: &Scene) -> Result<Self> {
        scene.ok(&["ls"]).await?;
        let client = Client::connect(&scene.sandbox().socket()).await?;
        let watch = client.watch_sign_ins(None).await?;
        let mut shown = Self { client, watch, present: BTreeMap::new(), history: Vec::new() };
        shown.until(SESSION, |state| !matches!(state, SignInState::Unknown)).await?;
        Ok(shown)
    }

    /// The daemon that shows them.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until a sign-in is in a state that satisfies `reached`.
    ///
    /// # Errors
    /// It is not in time; the text holds what it was instead.
    pub async fn until(
        &mut self,
        sign_in: &str,
        reached: impl Fn(&SignInState) -> bool,
    ) -> Result<SignInState> {
        let name: SignInName = sign_in.parse()?;
        let waiting = async {
            loop {
                let state = self.present.get(&name).map(|shown| &shown.status.state);
                if let Some(state) = state.filter(|state| reached(state)) {
                    return Ok(state.clone());
                }
                self.hear().await?;
            }
        };
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("not within {DEADLINE:?}: {:?}", self.present.get(&name)),
        }
    }

    /// Waits until there is a good token.
    ///
    /// # Errors
    /// As [`Shown::until`].
    pub async fn until_good(&mut self, sign_in: &str) -> Result<SignInState> {
        self.until(sign_in, |state| state.good_until().is_some()).await
    }

    /// Every state in which a sign-in was shown up to what was last waited for, oldest first.
    pub fn states<'a>(&'a self, sign_in: &'a str) -> impl Iterator<Item = &'a SignInState> {
        self.history
            .iter()
            .filter(move |shown| shown.name.as_str() == sign_in)
            .map(|shown| &shown.status.state)
    }

    async fn hear(&mut self) -> Result<()> {
        let update = self.watch.next().await?.context("the daemon ended the watch")?;
        let shown = match update.event {
            SignInWatchEvent::Snapshot(all) => {
                self.present.clear();
                all
            }
            SignInWatchEvent::Changed(one) => vec![*one],
            SignInWatchEvent::Removed(name) => {
                self.present.remove(&name);
                Vec::new()
            }
            SignInWatchEvent::Resumed => Vec::new(),
        };
        self.history.extend(shown.iter().cloned());
        self.present.extend(shown.into_iter().map(|one| (one.name.clone(), one)));
        Ok(())
    }
}

/// One of the tools that share logins with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// AWS's SDK for Python.
    Boto3,
    /// AWS CLI, version 1.
    Cli1,
    /// AWS CLI, version 2.
    Cli2,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Boto3, Self::Cli1, Self::Cli2];
}

/// Who boto3 takes itself for.
const WHO_AM_I: &str = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])";

/// The tools, as they are on this machine.
pub struct Tools {
    python: PathBuf,
    aws_cli_2: PathBuf,
}

impl Tools {
    /// Finds them; `None` when one is missing and that is allowed.
    ///
    /// # Errors
    /// As [`programs::find`].
    pub fn find() -> Result<Option<Self>> {
        let Some(python) = programs::python_with_aws()? else { return Ok(None) };
        let Some(aws_cli_2) = programs::aws_cli_2()? else { return Ok(None) };
        Ok(Some(Self { python, aws_cli_2 }))
    }

    /// Their versions, in one line.
    ///
    /// # Errors
    /// One of them does not tell.
    pub async fn versions(&self, scene: &Scene) -> Result<String> {
        let script =
            "import boto3, awscli; print(f'boto3 {boto3.__version__}, AWS CLI {awscli.__version__}')";
        let mut python = program(scene, &self.python, "dev");
        python.args(["-c", script]);
        let both = process::run(python, TOOL_DEADLINE).await?.success()?;
        let version = self.cli_2(scene, "dev", &["--version"]).await?.success()?;
        let second = version.split(['/', ' ']).nth(1).context("a version without a number")?;
        Ok(format!("{} and {second}", both.trim()))
    }

    /// Has a tool ask AWS who it is, with a profile.
    ///
    /// # Errors
    /// It cannot be started. That it fails is an answer.
    pub async fn who_am_i(&self, scene: &Scene, tool: Tool, profile: &str) -> Result<process::Output> {
        let identity = ["sts", "get-caller-identity", "--query", "Arn", "--output", "text"];
        let mut python = program(scene, &self.python, profile);
        match tool {
            Tool::Boto3 => python.args(["-c", WHO_AM_I]),
            Tool::Cli1 => python.args(["-m", "awscli"]).args(identity),
            Tool::Cli2 => return self.cli_2(scene, profile, &identity).await,
        };
        process::run(python, TOOL_DEADLINE).await
    }

    /// Runs AWS CLI 2, which knows AWS only by AWS's own names.
    ///
    /// # Errors
    /// It cannot be started. That it fails is an answer.
    pub async fn cli_2(&self, scene: &Scene, profile: &str, arguments: &[&str]) -> Result<process::Output> {
        let mut command = program(scene, &self.aws_cli_2, profile);
        command.args(arguments).env("AWS_PAGER", "");
        command.env("HTTPS_PROXY", scene.emulator().proxy_url().context("the emulator serves no TLS")?);
        process::run(command, TOOL_DEADLINE).await
    }
}

/// A program of a person who uses that profile, not yet started.
#[must_use]
pub fn program(scene: &Scene, path: &Path, profile: &str) -> Command {
    let mut command = Command::new(path);
    command.env_clear().envs(scene.sandbox().environment()).env("AWS_PROFILE", profile);
    command.env("AWS_MAX_ATTEMPTS", "1").current_dir(scene.sandbox().directory());
    command
}

/// Waits until looking shows something, which tells nobody when it is there.
///
/// # Errors
/// It does not within [`DEADLINE`]; the text is why it last did not.
pub async fn until<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let start = tokio::time::Instant::now();
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    loop {
        looks.tick().await;
        match look() {
            Err(why) if start.elapsed() >= DEADLINE => return Err(why),
            Err(_) => {}
            Ok(found) => return Ok(found),
        }
    }
}
