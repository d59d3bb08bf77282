//! Accounts and roles, and the profiles that get them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use stormtunnel_model::{
    Account, AccountId, AwsOutput, ExitCode, InvalidName, Profile, Region, RoleName, SignInChoice, SsoProfile,
};
use stormtunnel_proto::{CallError, Client, ConversionError};

use crate::cli::{ConfigureArgs, RoleFlag};
use crate::cmds::ask::{self, Question};
use crate::context::Context;
use crate::exit::{Failure, Problem};
use crate::render::sso_config;

const ROLE: &str = "--role ACCOUNT:ROLE";
const NUMBERS: &str = "numbers, such as 1,3-5, or all";
const OPTIONAL: &str = "may be left out";

/// How many accounts or roles a message names.
const SHOWN: usize = 10;

/// Where the daemon has the region of tunnels whose profile names none.
const DEFAULT_REGION: &str = "aws.default_region";

/// Refuses names that cannot all be given, before anything is done.
pub(super) fn check_names(context: &Context<'_>, args: &ConfigureArgs) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    for role in &args.roles {
        let name = match &role.profile {
            Some(name) => name.clone(),
            None => default_name(role)?,
        };
        if !names.insert(name.clone()) {
            return Err(two_of_one_name(&name).into());
        }
    }
    let named = args.roles.iter().any(|role| role.profile.is_some());
    if context.globals.profile.is_some() && (named || args.roles.len() > 1) {
        let headline = "--profile names the profile of one role that has no name yet";
        return Err(Problem::usage(headline, "name each with --role ACCOUNT:ROLE=PROFILE").into());
    }
    Ok(())
}

/// The roles that the flags name, if the person has them; else those that the person chooses.
pub(super) async fn chosen(
    context: &mut Context<'_>,
    client: &Client,
    sign_in: &SignInChoice,
    accounts: Vec<Account>,
    flags: &[RoleFlag],
) -> Result<Vec<RoleFlag>, Failure> {
    if accounts.is_empty() {
        let remedy = "ask the administrator of IAM Identity Center to assign a permission set to you";
        return Err(not_assigned("no account has a role for you".to_owned(), remedy).into());
    }
    if !flags.is_empty() {
        check(client, sign_in, &accounts, flags).await?;
        return Ok(flags.to_vec());
    }
    let mut roles = Vec::new();
    for account in pick_accounts(context, &accounts).await? {
        let found = client.list_roles(sign_in.clone(), &account).await?;
        let picked = pick_roles(context, &account, &found).await?;
        let flag = |role| RoleFlag { account: account.clone(), role, profile: None };
        roles.extend(picked.into_iter().map(flag));
    }
    Ok(roles)
}

/// Makes sure that the portal has all of these for the person.
async fn check(
    client: &Client,
    sign_in: &SignInChoice,
    accounts: &[Account],
    flags: &[RoleFlag],
) -> Result<(), Failure> {
    let mut known: BTreeMap<&AccountId, Vec<String>> = BTreeMap::new();
    for RoleFlag { account, role, .. } in flags {
        if !accounts.iter().any(|one| one.id == account.as_str()) {
            let there: Vec<&str> = accounts.iter().map(|one| one.id.as_str()).collect();
            let headline = format!("account {account} has no role for you");
            return Err(not_assigned(headline, &one_of(&there)).into());
        }
        if !known.contains_key(account) {
            known.insert(account, client.list_roles(sign_in.clone(), account).await?);
        }
        let there = known.get(account).map(Vec::as_slice).unwrap_or_default();
        if !there.iter().any(|one| one == role.as_str()) {
            let headline = format!("account {account} has no role {role} for you");
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            return Err(not_assigned(headline, &one_of(&there)).into());
        }
    }
    Ok(())
}

async fn pick_accounts(context: &mut Context<'_>, accounts: &[Account]) -> Result<Vec<AccountId>, Failure> {
    let items: Vec<String> = accounts.iter().map(sso_config::account).collect();
    let question = Question { what: "accounts", hint: NUMBERS, default: None, flag: ROLE };
    let picked = match items.as_slice() {
        [only] => {
            context.out.note(&format!("the only account is {only}"));
            vec![0]
        }
        _ => pick(context, &question, &items).await?,
    };
    let ids = picked.into_iter().filter_map(|index| accounts.get(index)).map(|account| account.id.parse());
    ids.collect::<Result<_, InvalidName>>().map_err(strange)
}

async fn pick_roles(
    context: &mut Context<'_>,
    account: &AccountId,
    roles: &[String],
) -> Result<Vec<RoleName>, Failure> {
    let what = format!("roles in {account}");
    let question = Question { what: &what, hint: NUMBERS, default: None, flag: ROLE };
    let picked = match roles {
        [] => {
            let headline = format!("account {account} has no role for you any more");
            return Err(not_assigned(headline, "repeat the command and choose another account").into());
        }
        [only] => {
            context.out.note(&format!("the only role in {account} is {only}"));
            vec![0]
        }
        _ => pick(context, &question, roles).await?,
    };
    let names = picked.into_iter().filter_map(|index| roles.get(index)).map(|role| role.parse());
    names.collect::<Result<_, InvalidName>>().map_err(strange)
}

async fn pick(
    context: &mut Context<'_>,
    question: &Question<'_>,
    items: &[String],
) -> Result<Vec<usize>, Failure> {
    let one = context.globals.profile.is_some();
    ask::several(context, question, items, one).await
}

/// Profiles for these roles: region and output are those of all, each has a name of its own.
pub(super) async fn profiles(
    context: &mut Context<'_>,
    client: &Client,
    roles: Vec<RoleFlag>,
    args: &ConfigureArgs,
) -> Result<Vec<SsoProfile>, Failure> {
    let (region, output) = (region(context, client).await?, output(context, args).await?);
    let mut profiles: Vec<SsoProfile> = Vec::new();
    for role in roles {
        let taken: BTreeSet<Profile> = profiles.iter().map(|profile| profile.name.clone()).collect();
        let name = name(context, &role, &taken).await?;
        let RoleFlag { account, role, .. } = role;
        profiles.push(SsoProfile { name, account, role, region: region.clone(), output: output.clone() });
    }
    Ok(profiles)
}

async fn region(context: &mut Context<'_>, client: &Client) -> Result<Option<Region>, Failure> {
    if context.globals.region.is_some() || !context.has_person() {
        return Ok(context.globals.region.clone());
    }
    let default = match context.region()? {
        Some(region) => Some(region.to_string()),
        None => {
            let settings = client.settings(&[DEFAULT_REGION.to_owned()]).await?.settings;
            settings.into_iter().map(|setting| setting.value).find(|value| !value.is_empty())
        }
    };
    let (what, hint) = ("region of what the profiles are used for", OPTIONAL);
    let question = Question { what, hint, default: default.as_deref(), flag: "--region REGION" };
    ask::value(context, &question, or_nothing).await
}

async fn output(context: &mut Context<'_>, args: &ConfigureArgs) -> Result<Option<AwsOutput>, Failure> {
    if args.aws_output.is_some() || !context.has_person() {
        return Ok(args.aws_output.clone());
    }
    let (what, hint) = ("output of the AWS CLI", OPTIONAL);
    let question = Question { what, hint, default: None, flag: "--aws-output FORM" };
    ask::value(context, &question, or_nothing).await
}

async fn name(
    context: &mut Context<'_>,
    role: &RoleFlag,
    taken: &BTreeSet<Profile>,
) -> Result<Profile, Failure> {
    let named = role.profile.clone().or_else(|| context.globals.profile.clone());
    let default = default_name(role)?;
    let name = match named {
        Some(name) => name,
        None if context.has_person() => {
            let what = format!("profile for {} in {}", role.role, role.account);
            let question = Question { what: &what, hint: "", default: Some(default.as_str()), flag: ROLE };
            return ask::value(context, &question, |text| free(text, taken)).await;
        }
        None => default,
    };
    // A name that was typed for an earlier one.
    if taken.contains(&name) { Err(two_of_one_name(&name).into()) } else { Ok(name) }
}

fn free(text: &str, taken: &BTreeSet<Profile>) -> Result<Profile, String> {
    let name: Profile = text.parse().map_err(|error: InvalidName| error.to_string())?;
    if taken.contains(&name) { Err(format!("\"{name}\" is another one's already")) } else { Ok(name) }
}

fn or_nothing<T: FromStr<Err = InvalidName>>(text: &str) -> Result<Option<T>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|error: InvalidName| error.to_string())
    }
}

/// The name that the AWS CLI offers.
fn default_name(role: &RoleFlag) -> Result<Profile, Failure> {
    format!("{}-{}", role.role, role.account).parse().map_err(strange)
}

/// A choice, as far as it can be read at a glance.
fn one_of(items: &[&str]) -> String {
    let (shown, rest) = items.split_at(items.len().min(SHOWN));
    let more = if rest.is_empty() { String::new() } else { format!(" or {} more", rest.len()) };
    format!("choose one of {}{more}", shown.join(", "))
}

fn not_assigned(headline: String, remedy: &str) -> Problem {
    let remedy = remedy.to_owned();
    Problem { exit: ExitCode::NotFound, remedy, ..Problem::failure("not_assigned", headline) }
}

fn two_of_one_name(name: &Profile) -> Problem {
    let headline = format!("two roles would have the profile \"{name}\"");
    Problem::usage(headline, "give each a name of its own with --role ACCOUNT:ROLE=PROFILE")
}

/// What AWS has and we cannot take.
fn strange(error: InvalidName) -> Failure {
    CallError::Malformed(ConversionError::from(error)).into()
}
