//! `bugreport`: one archive with what helps to find a fault, and without secrets.
//!
//! Everything in it comes from the daemon's API, which has no secrets, and goes through the redactor besides.

mod archive;
mod masks;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use stormtunnel_model::{ExitCode, Redactor, Timestamp};
use stormtunnel_proto::Client;
use stormtunnel_proto::calls::ListEvents;

use self::masks::Masks;
use super::daemon::service_view;
use super::{Ending, doctor};
use crate::cli::{BugreportArgs, Format};
use crate::context::Context;
use crate::exit::{Failure, Problem};
use crate::render::findings::FindingsView;
use crate::render::history_views::EventView;
use crate::render::profile_views::ProfileListView;
use crate::render::sign_in_views::SignInView;
use crate::render::views::{DaemonView, SettingView, TunnelView};
use crate::service::is_installed;

/// Events that are told: those of the last day, at most as many as the daemon gives.
const EVENTS_SINCE: Duration = Duration::from_secs(24 * 60 * 60);
const EVENTS: u32 = 1000;

/// Lines of the journal: as many as the daemon tells of a file.
const LOG_LINES: u32 = 2000;

/// A file of the archive.
struct Part {
    name: &'static str,
    /// What is in it, for people.
    what: &'static str,
    text: String,
}

/// What is printed for programs.
#[derive(Serialize)]
struct Written<'a> {
    path: String,
    files: Vec<&'a str>,
}

pub(super) async fn run(context: &mut Context<'_>, args: &BugreportArgs) -> Ending {
    let findings = doctor::examine(context, false).await?;
    let version = env!("STORMTUNNEL_VERSION");
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    let mut parts = vec![
        Part {
            name: "version.txt",
            what: "version of stctl, and the system",
            text: format!("stctl {version}\n{system} {machine}\n"),
        },
        part("doctor.json", "what `stctl doctor` finds", &FindingsView::of(&findings))?,
    ];
    let mut masks = Masks::default();
    let mut log = journal(context)?;
    match context.running_client().await {
        Ok(client) => {
            parts.extend(of_daemon(context, &client, &mut masks).await?);
            if log.is_none() {
                log = client.log(0).await.ok().map(|lines| lines.join("\n") + "\n");
            }
        }
        Err(_absent) => context.out.note("the daemon does not run: its part is missing"),
    }
    let what = "the end of the daemon's log";
    parts.extend(log.map(|text| Part { name: "daemon.log", what, text }));
    for part in &mut parts {
        part.text = Redactor::text(&part.text);
        if args.anonymous {
            part.text = masks.applied(&part.text);
        }
    }
    parts.insert(0, contents(&parts, args.anonymous));
    let path = std::path::absolute(&args.file).map_err(Failure::from)?;
    let written = archive::write(&path, &parts, context.out.now());
    written.map_err(|error| {
        let headline = format!("{} cannot be written: {error}", path.display());
        Problem {
            remedy: "choose another file with --file".to_owned(),
            ..Problem::failure("runtime", headline)
        }
    })?;
    let files: Vec<&str> = parts.iter().map(|part| part.name).collect();
    let path = path.display().to_string();
    let out = &mut context.out;
    match out.format {
        Format::Json | Format::Yaml => out.document(&Written { path, files })?,
        Format::Name => out.text(&path)?,
        Format::Table | Format::Wide => {
            out.text(&format!("{path}\n  {}\n", files.join("\n  ")))?;
            out.note("look through it before you send it: it names your tunnels, hosts and accounts (see --anonymous)");
        }
    }
    Ok(ExitCode::Ok)
}

async fn of_daemon(context: &Context<'_>, client: &Client, masks: &mut Masks) -> Result<Vec<Part>, Failure> {
    let info = client.daemon_info().await?;
    let settings = client.settings(&[]).await?;
    let socket = context.paths.socket.display().to_string();
    let tunnels = client.list_tunnels().await?;
    let profiles = client.list_profiles().await?;
    let sign_ins = client.list_sign_ins().await?;
    let now = context.out.now().as_millis();
    let since = u64::try_from(EVENTS_SINCE.as_millis()).unwrap_or_default();
    let since = Some(Timestamp::from_millis(now.saturating_sub(since)));
    let events = client.list_events(ListEvents { since, limit: EVENTS, ..Default::default() }).await?;
    masks.learn(&tunnels, &profiles, &sign_ins);
    let settings_views: Vec<SettingView> = settings.settings.iter().map(SettingView::of).collect();
    Ok(vec![
        part(
            "daemon.json",
            "version and state of the daemon",
            &DaemonView::of(&info, &socket, &settings.path, service_view(context)?),
        )?,
        part("settings.json", "settings in force, without passwords", &settings_views)?,
        part(
            "tunnels.json",
            "tunnels and their states",
            &tunnels.iter().map(TunnelView::of).collect::<Vec<_>>(),
        )?,
        part("profiles.json", "profiles, without keys", &ProfileListView::of(&profiles))?,
        part(
            "sign_ins.json",
            "sign-ins, without tokens",
            &sign_ins.iter().map(SignInView::of).collect::<Vec<_>>(),
        )?,
        part("events.json", "events of the last day", &events.iter().map(EventView::of).collect::<Vec<_>>())?,
    ])
}

/// The log of a service that writes into the journal; nothing of any other daemon, whose log is a file.
fn journal(context: &Context<'_>) -> Result<Option<String>, Failure> {
    let service = context.service()?;
    if !is_installed(service.as_ref(), &context.paths) {
        return Ok(None);
    }
    let Some((program, arguments)) = service.log_reader(LOG_LINES, false) else { return Ok(None) };
    let ran = context.programs.run(Path::new(program), &arguments);
    Ok(ran.ok().filter(|ended| ended.code == 0).map(|ended| ended.stdout))
}

/// What is inside, for whoever gets the archive.
fn contents(parts: &[Part], anonymous: bool) -> Part {
    let name = "contents.txt";
    let list = |part: &Part| format!("{:<14} {:>8} bytes  {}\n", part.name, part.text.len(), part.what);
    let how = if anonymous {
        "Secrets are taken out, and names, hosts and accounts replaced.\n"
    } else {
        "Secrets are taken out; names, hosts and accounts are as they are.\n"
    };
    let text = format!("{name}\n{}{how}", parts.iter().map(list).collect::<String>());
    Part { name, what: "this list", text }
}

fn part(name: &'static str, what: &'static str, value: &impl Serialize) -> Result<Part, Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Problem::failure("runtime", format!("{name} cannot be written: {error}")))?;
    Ok(Part { name, what, text: text + "\n" })
}
