//! `sso`: sign in, sign out, and how sign-ins are.

use std::collections::BTreeSet;

use stormtunnel_model::{
    ExitCode, Fault, FaultKind, Intent, LoginSurroundings, LoginWishes, Opener, Profile, SignIn,
    SignInChoice, SignInName, Tunnel,
};
use stormtunnel_proto::calls::{Login, LoginUpdate, Logout};
use stormtunnel_proto::{CallError, Client};
use tokio::time::timeout;

use super::{Ending, sso_configure, up};
use crate::browser;
use crate::cli::{Format, LoginArgs, LogoutArgs, Selection, SignInArgs, SsoVerb};
use crate::context::{CALL_DEADLINE, Context};
use crate::exit::{Failure, OLDER_DAEMON, Problem, Subject, quoted};
use crate::output::Output;
use crate::render::logins::Telling;
use crate::render::sign_in_views::{LoginView, SignInView};
use crate::render::sign_ins;

pub(super) async fn run(context: &mut Context<'_>, verb: &SsoVerb) -> Ending {
    match verb {
        SsoVerb::Login(args) => login(context, args).await,
        SsoVerb::Logout(args) => logout(context, args).await,
        SsoVerb::Status(args) => status(context, args).await,
        SsoVerb::Refresh(args) => refresh(context, args).await,
        SsoVerb::Configure(args) => sso_configure::run(context, args).await,
    }
}

async fn login(context: &mut Context<'_>, args: &LoginArgs) -> Ending {
    let sign_in = match (&args.start_url, &args.sso_region) {
        (Some(start_url), Some(region)) => {
            SignInChoice::At { start_url: start_url.clone(), region: region.clone() }
        }
        (_, _) => choice(context, &args.sign_in)?,
    };
    let surroundings = surroundings(context);
    let wishes = args.way.wishes(|| opener(context));
    let login = Login { sign_in, wishes, surroundings, if_needed: false };
    let client = context.client().await?;
    context.goes_on = "the login is given up, unless somebody else waits for it";
    let signed_in = follow(&mut context.out, &client, login, tell_login).await?;
    if context.out.format == Format::Name {
        context.out.text(signed_in.name.as_str())?;
    }
    Ok(ExitCode::Ok)
}

async fn logout(context: &mut Context<'_>, args: &LogoutArgs) -> Ending {
    let logout = if args.all { Logout::All } else { Logout::One(choice(context, &args.sign_in)?) };
    let client = context.client().await?;
    // First: ending a session takes credentials.
    let stopped =
        if args.stop_tunnels { stop_tunnels(context, &client, &logout).await? } else { ExitCode::Ok };
    let names = client.logout(logout).await?;
    let out = &mut context.out;
    match out.format {
        Format::Json | Format::Yaml => {
            out.document(&names.iter().map(SignInName::as_str).collect::<Vec<_>>())?;
        }
        Format::Name => names.iter().try_for_each(|name| out.text(name.as_str()))?,
        Format::Table | Format::Wide if names.is_empty() => out.note(sign_ins::NONE),
        Format::Table | Format::Wide => {
            names.iter().try_for_each(|name| out.text(&format!("{name}: signed out")))?;
        }
    }
    Ok(stopped)
}

/// Stops the tunnels whose profiles live on the sign-ins that are meant.
async fn stop_tunnels(context: &mut Context<'_>, client: &Client, logout: &Logout) -> Ending {
    let sign_ins = client.list_sign_ins().await?;
    let meant = |one: &SignIn| match logout {
        Logout::All | Logout::One(SignInChoice::Only) => true,
        Logout::One(SignInChoice::Named(name)) => one.name == *name,
        Logout::One(SignInChoice::OfProfile(profile)) => {
            one.profiles.iter().any(|other| other.profile == *profile)
        }
        Logout::One(SignInChoice::At { start_url, .. }) => one.name == *start_url,
    };
    let profiles = sign_ins.iter().filter(|one| meant(one)).flat_map(|one| &one.profiles);
    let profiles: BTreeSet<&str> = profiles.map(|one| one.profile.as_str()).collect();
    let default = client.settings(&["aws.default_profile".to_owned()]).await?;
    let default =
        default.settings.first().map(|setting| setting.value.clone()).filter(|name| !name.is_empty());
    let default = default.unwrap_or_else(|| "default".to_owned());
    let uses = |tunnel: &Tunnel| {
        let profile = tunnel.spec.profile.as_ref().map_or(default.as_str(), Profile::as_str);
        tunnel.intent == Intent::Run && profiles.contains(profile)
    };
    let tunnels = client.list_tunnels().await?;
    let names: Vec<String> =
        tunnels.iter().filter(|tunnel| uses(tunnel)).map(|tunnel| tunnel.spec.name.to_string()).collect();
    if names.is_empty() { Ok(ExitCode::Ok) } else { up::stop(context, client, &Selection::of(names)).await }
}

async fn status(context: &mut Context<'_>, args: &SignInArgs) -> Ending {
    let profile = context.globals.profile.clone();
    let mut found = context.client().await?.list_sign_ins().await?;
    let known: Vec<String> = found.iter().map(|one| one.name.to_string()).collect();
    let uses = |one: &SignIn| {
        profile.as_ref().is_none_or(|profile| one.profiles.iter().any(|other| other.profile == *profile))
    };
    found.retain(|one| args.name.as_ref().is_none_or(|name| one.name == *name) && uses(one));
    if found.is_empty() && (args.name.is_some() || profile.is_some()) {
        let wanted = args.name.as_ref().map(ToString::to_string).unwrap_or_default();
        return Err(unknown(wanted, &known).into());
    }
    show(&mut context.out, &found)?;
    let needed = found.iter().any(|one| one.status.state.needs_login().is_some());
    Ok(if needed { ExitCode::LoginNeeded } else { ExitCode::Ok })
}

async fn refresh(context: &mut Context<'_>, args: &SignInArgs) -> Ending {
    let choice = choice(context, args)?;
    let renewed = context.client().await?.refresh(choice).await.map_err(|error| not_renewed(&error))?;
    let out = &mut context.out;
    match out.format {
        Format::Json | Format::Yaml => out.document(&SignInView::of(&renewed))?,
        Format::Name => out.text(renewed.name.as_str())?,
        Format::Table | Format::Wide => out.text(&sign_ins::renewed(&renewed))?,
    }
    Ok(ExitCode::Ok)
}

/// Has a person sign in for tunnels that wait for it, where nothing else helps. Answers whether they go on; why not is told.
/// A daemon that does not know the sign-in cannot help: the tunnels' own fault says what to do.
pub(super) async fn login_for_tunnels(
    context: &mut Context<'_>,
    client: &Client,
    name: SignInName,
) -> Result<bool, Failure> {
    let (sign_in, surroundings) = (SignInChoice::Named(name), surroundings(context));
    let wishes = LoginWishes { opener: opener(context), ..LoginWishes::default() };
    let login = Login { sign_in, wishes, surroundings, if_needed: true };
    match follow(&mut context.out, client, login, tell_progress).await {
        Ok(_signed_in) => Ok(true),
        Err(Failure::Problem(problem)) if UNHELPFUL.contains(&problem.kind.as_str()) => Ok(false),
        Err(Failure::Problem(problem)) => {
            context.out.problem(&problem);
            Ok(false)
        }
        Err(closed @ Failure::ClosedPipe) => Err(closed),
    }
}

/// Has a person sign in for a command that goes on afterwards and has an output of its own.
pub(super) async fn login_on_the_way(
    context: &mut Context<'_>,
    client: &Client,
    sign_in: SignInChoice,
    wishes: LoginWishes,
) -> Result<SignIn, Failure> {
    let login = Login { sign_in, wishes, surroundings: surroundings(context), if_needed: false };
    follow(&mut context.out, client, login, tell_progress).await
}

/// Kinds of problems of a daemon that has no such sign-in, or is too old to have any.
const UNHELPFUL: [&str; 2] = ["sign_in_not_found", OLDER_DAEMON];

/// Waits for a login, as long as a person takes: the daemon has its own limit.
async fn follow(
    out: &mut Output<'_>,
    client: &Client,
    login: Login,
    tell: fn(&mut Output<'_>, &LoginUpdate, &mut Telling) -> Result<(), Failure>,
) -> Result<SignIn, Failure> {
    let mut telling = Telling::new(login.wishes.clone());
    let opened = timeout(CALL_DEADLINE, client.login(login)).await;
    let mut running = opened.unwrap_or(Err(CallError::DeadlineExceeded))?;
    while let Some(update) = running.next().await? {
        tell(out, &update, &mut telling)?;
        if let LoginUpdate::SignedIn(sign_in) = update {
            return Ok(*sign_in);
        }
    }
    Err(CallError::Disconnected("the daemon ended the login".to_owned()).into())
}

fn tell_login(out: &mut Output<'_>, update: &LoginUpdate, telling: &mut Telling) -> Result<(), Failure> {
    match (out.format, update) {
        (Format::Json | Format::Yaml, _) => out.record(&LoginView::of(update)),
        (Format::Table | Format::Wide, LoginUpdate::SignedIn(sign_in)) => {
            out.text(&sign_ins::signed_in(sign_in))
        }
        (Format::Table | Format::Wide | Format::Name, _) => tell_progress(out, update, telling),
    }
}

/// What a person has to see is shown whatever standard output is for.
fn tell_progress(out: &mut Output<'_>, update: &LoginUpdate, telling: &mut Telling) -> Result<(), Failure> {
    if let Some(text) = telling.of(update) {
        out.progress(&text);
    }
    Ok(())
}

fn show(out: &mut Output<'_>, found: &[SignIn]) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Yaml => out.document(&found.iter().map(SignInView::of).collect::<Vec<_>>()),
        Format::Name => found.iter().try_for_each(|one| out.text(one.name.as_str())),
        Format::Table | Format::Wide if found.is_empty() => {
            out.note(sign_ins::NONE);
            Ok(())
        }
        Format::Table | Format::Wide => {
            let table = sign_ins::table(found, out.format == Format::Wide, out.style(), out.width);
            out.text(&table)?;
            sign_ins::notes(found).iter().for_each(|note| out.note(note));
            Ok(())
        }
    }
}

/// A token that only a login brings back: this daemon knows the sign-in, so it is also who to log in with.
fn not_renewed(error: &CallError) -> Problem {
    let problem = Problem::of_call(error, Subject::default());
    let CallError::Fault(Fault { kind: FaultKind::SignInNeeded { sign_in }, .. }) = error else {
        return problem;
    };
    Problem { remedy: format!("sign in with `stctl sso login {}`", quoted(sign_in)), ..problem }
}

/// The sign-in that the user means: by name, else by profile, else the only one.
fn choice(context: &Context<'_>, args: &SignInArgs) -> Result<SignInChoice, Failure> {
    Ok(match (&args.name, context.profile()?) {
        (Some(name), _) => SignInChoice::Named(name.clone()),
        (None, Some(profile)) => SignInChoice::OfProfile(profile),
        (None, None) => SignInChoice::Only,
    })
}

fn unknown(sign_in: String, known: &[String]) -> Problem {
    let detail =
        if known.is_empty() { sign_ins::NONE.to_owned() } else { format!("known are {}", known.join(", ")) };
    let fault = Fault::new(FaultKind::SignInNotFound { sign_in }, detail);
    Problem::of_fault(&fault, Subject::default())
}

/// The browser that the environment names. Where a browser would open in front of nobody it names none: there a command on the
/// command line counts, and nothing that a profile of the shell happens to set.
pub(super) fn opener(context: &Context<'_>) -> Opener {
    let LoginSurroundings { remote, container, wsl, display } = surroundings(context);
    let in_sight = !remote && !container && (display || wsl);
    let named = in_sight.then(|| browser::named(&context.env, browser::is_program)).flatten();
    named.map_or(Opener::Default, Opener::Command)
}

/// Where the person sits, as this terminal's environment tells. The daemon's own says nothing about that.
fn surroundings(context: &Context<'_>) -> LoginSurroundings {
    let set = |names: &[&str]| names.iter().any(|name| context.env.text(name).is_some());
    LoginSurroundings {
        remote: set(&["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"]),
        container: context.in_container || set(&["container", "REMOTE_CONTAINERS", "CODESPACES"]),
        wsl: set(&["WSL_DISTRO_NAME", "WSL_INTEROP"]),
        display: cfg!(target_os = "macos") || set(&["DISPLAY", "WAYLAND_DISPLAY"]),
    }
}
