//! The session: what the flags say, else one that is there, else what a person answers.

use std::str::FromStr;

use stormtunnel_model::{DEFAULT_SCOPE, InvalidName, SignIn, SignInForm, SignInName, SsoScope, SsoSession};
use stormtunnel_proto::Client;

use crate::cli::{ConfigureArgs, parse_session};
use crate::cmds::ask::{self, Question};
use crate::context::Context;
use crate::exit::{Failure, Problem};

/// A session to use.
pub(super) struct Session {
    pub(super) session: SsoSession,
    /// It is configured just so.
    pub(super) is_there: bool,
}

/// The session that is meant. Of one that is there nothing has to be said but the name.
pub(super) async fn wanted(
    context: &mut Context<'_>,
    client: &Client,
    args: &ConfigureArgs,
) -> Result<Session, Failure> {
    let known = client.list_sign_ins().await?;
    let known: Vec<SignIn> =
        known.into_iter().filter(|one| matches!(one.name.form(), SignInForm::Session(_))).collect();
    let name = match &args.session {
        Some(name) => name.clone(),
        None => name(context, &known).await?,
    };
    match known.into_iter().find(|one| one.name == name) {
        Some(known) => of_known(known, args),
        None => Ok(Session { session: new(context, name, args).await?, is_there: false }),
    }
}

async fn name(context: &mut Context<'_>, known: &[SignIn]) -> Result<SignInName, Failure> {
    let names: Vec<&str> = known.iter().map(|one| one.name.as_str()).collect();
    if context.has_person() && !names.is_empty() {
        context
            .out
            .progress(&format!("there are the sessions {}; another name makes a new one", names.join(", ")));
    }
    let default = names.first().copied().filter(|_| names.len() == 1);
    let question = Question { what: "SSO session name", hint: "", default, flag: "--session NAME" };
    ask::value(context, &question, parse_session).await
}

fn of_known(known: SignIn, args: &ConfigureArgs) -> Result<Session, Failure> {
    let start_url = match &args.start_url {
        Some(start_url) => start_url.clone(),
        None => known.start_url.parse().map_err(|error: InvalidName| {
            Problem::usage(error.to_string(), "give another address with --start-url URL --overwrite")
        })?,
    };
    let region = args.sso_region.clone().unwrap_or_else(|| known.region.clone());
    let is_there = start_url.as_str() == known.start_url && region == known.region && args.scopes.is_empty();
    let session = SsoSession { name: known.name, start_url, region, scopes: args.scopes.clone() };
    Ok(Session { session, is_there })
}

async fn new(
    context: &mut Context<'_>,
    name: SignInName,
    args: &ConfigureArgs,
) -> Result<SsoSession, Failure> {
    let start_url = match &args.start_url {
        Some(start_url) => start_url.clone(),
        None => {
            let question =
                Question { what: "SSO start URL", hint: "", default: None, flag: "--start-url URL" };
            ask::value(context, &question, parse).await?
        }
    };
    let region = match &args.sso_region {
        Some(region) => region.clone(),
        None => {
            let question =
                Question { what: "SSO region", hint: "", default: None, flag: "--sso-region REGION" };
            ask::value(context, &question, parse).await?
        }
    };
    let scopes = if !args.scopes.is_empty() {
        args.scopes.clone()
    } else if context.has_person() {
        let (what, hint) = ("SSO registration scopes", "with commas between");
        let question = Question { what, hint, default: Some(DEFAULT_SCOPE), flag: "--scopes SCOPES" };
        ask::value(context, &question, scopes).await?
    } else {
        scopes(DEFAULT_SCOPE).map_err(|error| Problem::failure("runtime", error))?
    };
    Ok(SsoSession { name, start_url, region, scopes })
}

fn parse<T: FromStr<Err = InvalidName>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: InvalidName| error.to_string())
}

fn scopes(text: &str) -> Result<Vec<SsoScope>, String> {
    text.split(',').map(|scope| parse(scope.trim())).collect()
}
