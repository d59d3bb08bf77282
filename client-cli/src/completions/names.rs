//! What can stand in an argument, and who knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use clap::CommandFactory;
use clap_complete::engine::CompletionCandidate;
use stormtunnel_model::{Keep, SignInForm, Tunnel};
use stormtunnel_proto::{CallError, Client};

use crate::cli::Cli;
use crate::manual::Topic;
use crate::render;

/// Names that the daemon knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Tunnel,
    /// What `-l` takes.
    Selector,
    /// What `--label` takes.
    Label,
    Target,
    Region,
    Profile,
    SignIn,
    /// A sign-in that is no address.
    Session,
    Setting,
}

/// Where the values of an argument come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// From the daemon.
    Live(Kind),
    /// From here.
    Fixed(Vec<&'static str>),
    /// From the grammar: commands and topics.
    Help,
}

/// Where the values of that command's argument come from, by their identifiers in `cli`. Those with few values that the
/// grammar lists are not here: the engine knows them.
pub(super) fn source(command: &str, argument: &str) -> Option<Source> {
    Some(match (command, argument) {
        (_, "tunnel" | "tunnels") => Source::Live(Kind::Tunnel),
        (_, "selector") => Source::Live(Kind::Selector),
        (_, "labels") => Source::Live(Kind::Label),
        (_, "target") => Source::Live(Kind::Target),
        (_, "region") => Source::Live(Kind::Region),
        (_, "profile") => Source::Live(Kind::Profile),
        ("login" | "logout" | "status" | "refresh", "name") => Source::Live(Kind::SignIn),
        (_, "session") => Source::Live(Kind::Session),
        (_, "key" | "keys") => Source::Live(Kind::Setting),
        (_, "keep") => Source::Fixed(Keep::ALL.map(Keep::name).to_vec()),
        (_, "local") => Source::Fixed(vec!["auto", "unix:"]),
        (_, "aws_output") => Source::Fixed(vec!["json", "off", "table", "text", "yaml", "yaml-stream"]),
        ("help", "words") => Source::Help,
        _ => return None,
    })
}

/// A value, and a few words on it for shells that show them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value {
    pub(super) text: String,
    about: Option<String>,
}

impl Value {
    /// One of which there is nothing to say.
    pub(super) fn bare(text: &(impl ToString + ?Sized)) -> Self {
        Self { text: text.to_string(), about: None }
    }

    fn new(text: &(impl ToString + ?Sized), about: impl Into<String>) -> Self {
        Self { text: text.to_string(), about: Some(about.into()) }
    }

    /// As the engine takes it.
    pub(super) fn candidate(self) -> CompletionCandidate {
        CompletionCandidate::new(self.text).help(self.about.map(Into::into))
    }
}

/// The names that there are, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<Kind, Vec<Value>>,
    /// The kinds that were asked for and are not known.
    wanted: Mutex<BTreeSet<Kind>>,
}

impl Names {
    pub(super) fn of(known: BTreeMap<Kind, Vec<Value>>) -> Self {
        Self { known, wanted: Mutex::default() }
    }

    /// The kinds that were asked for and are not known.
    pub(super) fn wanted(&self) -> Vec<Kind> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// What can stand in place of what is typed. A tunnel that is named already is not meant twice.
    pub(super) fn offer(&self, kind: Kind, typed: &str, before: &[String]) -> Vec<Value> {
        let Some(values) = self.known.get(&kind) else {
            self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
            return Vec::new();
        };
        match kind {
            Kind::Tunnel => values.iter().filter(|value| !before.contains(&value.text)).cloned().collect(),
            Kind::Selector => requirements(values, typed),
            Kind::Label
            | Kind::Target
            | Kind::Region
            | Kind::Profile
            | Kind::SignIn
            | Kind::Session
            | Kind::Setting => values.clone(),
        }
    }
}

/// What can stand behind the last comma, in the form that is begun there: `KEY=VALUE`, `KEY!=VALUE`, `KEY` or `!KEY`.
fn requirements(labels: &[Value], typed: &str) -> Vec<Value> {
    let (done, begun) = typed.rsplit_once(',').map_or(("", typed), |(done, begun)| (done, begun));
    let done = if done.is_empty() { String::new() } else { format!("{done},") };
    let pairs = labels.iter().filter_map(|label| label.text.split_once('='));
    let keys: BTreeSet<&str> = pairs.clone().map(|(key, _)| key).collect();
    let forms: Vec<String> = if begun.contains("!=") {
        pairs.map(|(key, value)| format!("{key}!={value}")).collect()
    } else if begun.starts_with('!') {
        keys.into_iter().map(|key| format!("!{key}")).collect()
    } else {
        keys.into_iter()
            .map(str::to_owned)
            .chain(pairs.map(|(key, value)| format!("{key}={value}")))
            .collect()
    };
    forms.into_iter().map(|form| Value::bare(&format!("{done}{form}"))).collect()
}

impl Kind {
    /// All of them that there are, in order.
    pub(super) async fn values(self, client: &Client) -> Result<Vec<Value>, CallError> {
        let mut values = match self {
            Self::Tunnel | Self::Selector | Self::Label | Self::Target | Self::Region => {
                self.of_tunnels(&client.list_tunnels().await?)
            }
            Self::Profile => profiles(client).await?,
            Self::SignIn | Self::Session => self.sign_ins(client).await?,
            Self::Setting => {
                let settings = client.settings(&[]).await?.settings;
                settings.into_iter().map(|setting| Value::new(&setting.key, setting.meaning)).collect()
            }
        };
        values.sort();
        values.dedup();
        Ok(values)
    }

    /// What tunnels tell. Their targets stand for those of AWS, which nobody asks for while a key is pressed.
    fn of_tunnels(self, tunnels: &[Tunnel]) -> Vec<Value> {
        let one = |tunnel: &Tunnel| -> Vec<Value> {
            let spec = &tunnel.spec;
            match self {
                Self::Tunnel => {
                    let (state, local) = (tunnel.status.state.label(), render::address(tunnel));
                    vec![Value::new(&spec.name, format!("{state}, {local} to {}", spec.remote))]
                }
                Self::Target => vec![Value::bare(&spec.target)],
                Self::Region => spec.region.iter().map(Value::bare).collect(),
                Self::Selector | Self::Label => {
                    spec.labels.iter().map(|(key, value)| Value::bare(&format!("{key}={value}"))).collect()
                }
                Self::Profile | Self::SignIn | Self::Session | Self::Setting => Vec::new(),
            }
        };
        tunnels.iter().flat_map(one).collect()
    }

    async fn sign_ins(self, client: &Client) -> Result<Vec<Value>, CallError> {
        let mut sign_ins = client.list_sign_ins().await?;
        sign_ins.retain(|one| self == Self::SignIn || matches!(one.name.form(), SignInForm::Session(_)));
        Ok(sign_ins.into_iter().map(|one| Value::new(&one.name, one.status.state.label())).collect())
    }
}

async fn profiles(client: &Client) -> Result<Vec<Value>, CallError> {
    let profiles = client.list_profiles().await?.profiles;
    let value = |profile: stormtunnel_model::AwsProfile| {
        let kind = profile.kind.map_or("not usable", |kind| kind.name());
        let more = [profile.account, profile.role].into_iter().flatten();
        let about: Vec<String> = std::iter::once(kind.to_owned()).chain(more).collect();
        Value::new(&profile.name, about.join(", "))
    };
    Ok(profiles.into_iter().map(value).collect())
}

/// What `help` can be asked about: the commands below those that stand there already, and topics at the beginning.
pub(super) fn helped(before: &[String]) -> Vec<Value> {
    let mut program = Cli::command();
    let words =
        before.iter().skip_while(|word| *word != "help").skip(1).filter(|word| !word.starts_with('-'));
    let words: Vec<&String> = words.collect();
    for word in &words {
        match program.find_subcommand(word) {
            Some(command) => program = command.clone(),
            None => return Vec::new(),
        }
    }
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let about = |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    let commands = commands.map(|command| Value::new(command.get_name(), about(command)));
    let topics = Topic::ALL.iter().filter(|_| words.is_empty());
    commands.chain(topics.map(|topic| Value::new(topic.name(), topic.about()))).collect()
}

#[cfg(test)]
mod tests {
    use clap::{Command, Parser};

    use super::*;

    /// Names of things that are yet to be made, and a region that no tunnel tells.
    const UNKNOWN: [(&str, &str); 4] =
        [("add", "name"), ("edit", "rename"), ("configure", "sso_region"), ("login", "sso_region")];

    #[test]
    fn each_argument_that_takes_a_name_has_names() {
        fn walk(command: &Command, seen: &mut usize) {
            for arg in command.get_arguments() {
                let id = (command.get_name(), arg.get_id().as_str());
                let names = arg.get_value_names().unwrap_or_default();
                let is_name = names.iter().any(|name| {
                    ["KEY", "KEY=VALUE", "LABELS", "NAME", "PROFILE", "REGION", "TARGET"]
                        .contains(&name.as_str())
                });
                if is_name && !UNKNOWN.contains(&id) {
                    assert!(source(id.0, id.1).is_some(), "nothing is offered for {id:?}");
                    *seen += 1;
                }
            }
            command.get_subcommands().for_each(|sub| walk(sub, seen));
        }
        let mut program = Cli::command();
        program.build();
        let mut seen = 0;
        walk(&program, &mut seen);
        assert!(seen > 100, "global flags are in each command: {seen}");
    }

    #[test]
    fn what_is_offered_from_here_is_taken() {
        let add = "stctl tunnel add x --target i-12345678 --remote 1";
        for (line, command, argument) in [
            (format!("{add} --keep"), "add", "keep"),
            (format!("{add} --local"), "add", "local"),
            ("stctl sso configure --aws-output".to_owned(), "configure", "aws_output"),
        ] {
            let Some(Source::Fixed(values)) = source(command, argument) else { panic!("{argument}") };
            for value in values {
                let value = if value.ends_with(':') { format!("{value}/run/x") } else { value.to_owned() };
                let words: Vec<&str> = line.split(' ').chain([value.as_str()]).collect();
                assert!(Cli::try_parse_from(&words).is_ok(), "{words:?}");
            }
        }
    }

    #[test]
    fn a_selector_goes_on_in_the_form_that_is_begun() {
        let labels = ["env=dev", "env=prod", "team=data"].map(Value::bare);
        let offered = |typed: &str| -> Vec<String> {
            requirements(&labels, typed).into_iter().map(|value| value.text).collect()
        };
        assert_eq!(offered(""), ["env", "team", "env=dev", "env=prod", "team=data"]);
        assert_eq!(offered("a=b,!"), ["a=b,!env", "a=b,!team"]);
        assert_eq!(offered("env!="), ["env!=dev", "env!=prod", "team!=data"]);
    }
}
