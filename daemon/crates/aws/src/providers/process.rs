//! Credentials that a program prints (`credential_process`). It is run without a shell, as the AWS CLI does it.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;
use stormtunnel_aws_files::CredentialProcess;
use stormtunnel_engine::ports::Clock;
use stormtunnel_model::{Fault, FaultKind, Profile};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::credentials::wall_time;
use crate::quote::quote;

/// How long the program may take: some of them ask a person.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// Most bytes that are read of what it prints; credentials have one or two thousand.
const MAX_OUTPUT: u64 = 64 * 1024;

/// Arguments of at least so many characters are cut out of what the program says of its failure: they may be secrets.
const SECRET_ARGUMENT: usize = 8;

/// Runs a program at each call.
pub(super) struct ProcessProvider {
    process: CredentialProcess,
    profile: Profile,
    clock: Arc<dyn Clock>,
}

/// What a program did.
struct Ran {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl ProcessProvider {
    pub(super) fn new(process: CredentialProcess, profile: Profile, clock: Arc<dyn Clock>) -> Self {
        Self { process, profile, clock }
    }

    async fn provide(&self) -> provider::Result {
        self.run().await.map_err(|why| CredentialsError::provider_error(self.fault(&why)))
    }

    /// The error says why there are no credentials.
    async fn run(&self) -> Result<Keys, String> {
        let ran = timeout(TIMEOUT, run(self.process.arguments())).await;
        let ran =
            ran.map_err(|_| format!("it was stopped because it took more than {} s", TIMEOUT.as_secs()))?;
        let ran = ran.map_err(|error| format!("it cannot be run: {error}"))?;
        if !ran.status.success() {
            let said = self.quoted(&String::from_utf8_lossy(&ran.errors));
            let separator = if said.is_empty() { "" } else { ": " };
            return Err(format!("it ended with {}{separator}{said}", ran.status));
        }
        keys(&ran.output, wall_time(self.clock.as_ref()))
    }

    fn quoted(&self, text: &str) -> String {
        let arguments = self.process.arguments().iter().skip(1).map(String::as_str);
        let secrets: Vec<&str> = arguments.filter(|argument| argument.len() >= SECRET_ARGUMENT).collect();
        quote(text, &secrets)
    }

    fn fault(&self, why: &str) -> Fault {
        let program = self.process.arguments().first().map(String::as_str).unwrap_or_default();
        let detail = format!(
            "credential_process of profile \"{}\" gave no credentials ({program}): {why}",
            self.profile
        );
        Fault::new(FaultKind::CredentialsInvalid { profile: self.profile.to_string() }, detail)
    }
}

/// Runs the program to its end. Dropped before, it is killed.
async fn run(arguments: &[String]) -> io::Result<Ran> {
    let (program, arguments) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (output, errors, status) = tokio::try_join!(read(output), read(errors), child.wait())?;
    Ok(Ran { status, output, errors })
}

/// Reads to the end, or to [`MAX_OUTPUT`]; whoever writes more finds the pipe closed.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_OUTPUT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The credentials in what was printed. Nothing of it is in the error.
fn keys(output: &[u8], now: SystemTime) -> Result<Keys, String> {
    let printed: Value = serde_json::from_slice(output).map_err(|_| "it did not print JSON".to_owned())?;
    if printed.get("Version").and_then(Value::as_u64) != Some(1) {
        return Err("what it printed is not of version 1".to_owned());
    }
    let text = |field: &str| printed.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let needed = |field: &str| text(field).ok_or_else(|| format!("it did not print {field}"));
    let expires = text("Expiration").map(expiry).transpose()?;
    if expires.is_some_and(|expires| expires <= now) {
        return Err("the credentials that it printed have expired".to_owned());
    }
    let token = text("SessionToken").map(str::to_owned);
    Ok(Keys::new(needed("AccessKeyId")?, needed("SecretAccessKey")?, token, expires, "process"))
}

fn expiry(text: &str) -> Result<SystemTime, String> {
    let wrong = || "the Expiration that it printed is no time such as 2030-01-01T00:00:00Z".to_owned();
    let time = DateTime::from_str(text, Format::DateTimeWithOffset).map_err(|_| wrong())?;
    SystemTime::try_from(time).map_err(|_| wrong())
}

impl ProvideCredentials for ProcessProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

impl fmt::Debug for ProcessProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessProvider").field("profile", &self.profile).finish_non_exhaustive()
    }
}
