//! `sso configure`: an `[sso-session]` and profiles for the config file of AWS, in the order in which the AWS CLI asks.
//!
//! A login needs its session, because the token is filed under the session's name. So a session that is new is written before
//! it, and the profiles at the end: whoever gives up between the two leaves a session that nobody uses, and the next try finds
//! it there.

mod roles;
mod session;

use stormtunnel_model::{
    Account, ConfiguredSection, ExitCode, Fault, FaultKind, LoginWishes, Profile, SectionChange,
    SignInChoice, SsoConfig, SsoConfigured, SsoSection, SsoSession,
};
use stormtunnel_proto::{CallError, Client};

use self::session::Session;
use super::{Ending, confirm, sso, whoami};
use crate::cli::{ConfigureArgs, Format};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::render::sso_config::{self, SsoConfiguredView};

pub(super) async fn run(context: &mut Context<'_>, args: &ConfigureArgs) -> Ending {
    roles::check_names(context, args)?;
    let client = context.client().await?;
    let Session { session, is_there } = session::wanted(context, &client, args).await?;
    let mut before = None;
    let roles = if args.no_login {
        args.roles.clone()
    } else {
        if !is_there {
            before = Some(write_session(context, &client, &session, args.overwrite).await?);
        }
        let sign_in = SignInChoice::Named(session.name.clone());
        let accounts = accounts(context, &client, &sign_in, args.way.wishes(|| sso::opener(context))).await?;
        roles::chosen(context, &client, &sign_in, accounts, &args.roles).await?
    };
    let profiles = roles::profiles(context, &client, roles, args).await?;
    let names: Vec<Profile> = profiles.iter().map(|profile| profile.name.clone()).collect();
    let config = SsoConfig { session, profiles, overwrite: args.overwrite };
    let written = write(context, &client, config).await?;
    show(&mut context.out, &together(before, written))?;
    // Programs have had their document, and without a login there is nobody to be.
    if args.no_login || matches!(context.out.format, Format::Json | Format::Yaml | Format::Name) {
        return Ok(ExitCode::Ok);
    }
    let mut worst = ExitCode::Ok;
    for name in names {
        worst = worst.max(whoami::tell(context, &client, Some(name), Some(WRITTEN)).await?);
    }
    Ok(worst)
}

/// What chose the profiles that AWS is asked about at the end.
const WRITTEN: &str = "sso configure";

/// Writes the session for the login that needs it, and says so.
async fn write_session(
    context: &mut Context<'_>,
    client: &Client,
    session: &SsoSession,
    overwrite: bool,
) -> Result<SsoConfigured, Failure> {
    let config = SsoConfig { session: session.clone(), profiles: Vec::new(), overwrite };
    let written = write(context, client, config).await?;
    let section = SsoSection::Session(session.name.clone());
    context.out.note(&format!("{section} is in {}: the login needs it", written.file));
    Ok(written)
}

/// Writes it; what is in the way is overwritten if a person says so.
async fn write(
    context: &mut Context<'_>,
    client: &Client,
    config: SsoConfig,
) -> Result<SsoConfigured, Failure> {
    let in_the_way = match client.configure(config.clone()).await {
        Err(CallError::Fault(fault)) if is_in_the_way(&fault) && !config.overwrite => fault,
        outcome => return Ok(outcome?),
    };
    match context.ask(&format!("{in_the_way}; overwrite that?")).await? {
        Some(true) => Ok(client.configure(SsoConfig { overwrite: true, ..config }).await?),
        Some(false) => Err(confirm::not_confirmed("overwritten")),
        None => Err(CallError::Fault(in_the_way).into()),
    }
}

fn is_in_the_way(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::SectionExists { .. })
}

/// The accounts of the person, who signs in for them where that is needed.
async fn accounts(
    context: &mut Context<'_>,
    client: &Client,
    sign_in: &SignInChoice,
    wishes: LoginWishes,
) -> Result<Vec<Account>, Failure> {
    match client.list_accounts(sign_in.clone()).await {
        Err(CallError::Fault(Fault { kind: FaultKind::SignInNeeded { .. }, .. })) => {
            sso::login_on_the_way(context, client, sign_in.clone(), wishes).await?;
            Ok(client.list_accounts(sign_in.clone()).await?)
        }
        outcome => Ok(outcome?),
    }
}

/// What was done in two steps, as one.
fn together(before: Option<SsoConfigured>, mut written: SsoConfigured) -> SsoConfigured {
    let Some(before) = before else { return written };
    let was = |section: &SsoSection| before.sections.iter().find(|one| one.section == *section);
    for ConfiguredSection { section, change } in &mut written.sections {
        if let (SectionChange::Unchanged, Some(earlier)) = (*change, was(section)) {
            *change = earlier.change;
        }
    }
    // The copy of the first change is one of the file without any of ours.
    let changed = before.sections.iter().any(|one| one.change != SectionChange::Unchanged);
    let backup = if changed { before.backup } else { written.backup };
    SsoConfigured { backup, ..written }
}

fn show(out: &mut Output<'_>, written: &SsoConfigured) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Yaml => out.document(&SsoConfiguredView::of(written)),
        Format::Name => written.sections.iter().try_for_each(|one| match &one.section {
            SsoSection::Profile(name) => out.text(name.as_str()),
            SsoSection::Session(_) => Ok(()),
        }),
        Format::Table | Format::Wide => out.text(&sso_config::written(written)),
    }
}
