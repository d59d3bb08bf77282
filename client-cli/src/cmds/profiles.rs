//! `profiles`: those of the AWS files, and whether their credentials are any good.

use stormtunnel_model::{AwsProfile, ExitCode, Fault, FaultKind, Profile, ProfileList};
use stormtunnel_proto::calls::{ProfileWatchEvent, ProfileWatchUpdate};
use stormtunnel_proto::{CallError, Client};
use tokio::time::timeout;

use super::Ending;
use crate::cli::{Format, ProfilesArgs};
use crate::context::{CALL_DEADLINE, Context};
use crate::exit::{Failure, Problem, Subject};
use crate::output::Output;
use crate::render::profile_views::{ProfileListView, ProfileWatchView};
use crate::render::profiles;

pub(super) async fn run(context: &mut Context<'_>, args: &ProfilesArgs) -> Ending {
    let client = context.client().await?;
    let wanted = context.globals.profile.clone();
    if args.watch {
        return watch(&mut context.out, &client, wanted.as_ref()).await;
    }
    let found = only(client.list_profiles().await?, wanted.as_ref())?;
    show(&mut context.out, &found)?;
    Ok(ExitCode::Ok)
}

/// Only the profile that is wanted, if one is.
fn only(mut list: ProfileList, wanted: Option<&Profile>) -> Result<ProfileList, Failure> {
    let Some(wanted) = wanted else { return Ok(list) };
    list.profiles.retain(|profile| profile.name == *wanted);
    if list.profiles.is_empty() {
        let fault = Fault::new(FaultKind::ProfileNotFound { profile: wanted.to_string() }, "");
        return Err(profiles::not_found(Problem::of_fault(&fault, Subject::default())).into());
    }
    Ok(list)
}

fn show(out: &mut Output<'_>, found: &ProfileList) -> Result<(), Failure> {
    match out.format {
        Format::Json | Format::Yaml => return out.document(&ProfileListView::of(found)),
        Format::Name => return out.text(&profiles::names(&found.profiles)),
        Format::Table | Format::Wide if found.profiles.is_empty() => out.note(profiles::NONE),
        Format::Table => out.text(&profiles::table(&found.profiles, out.style(), out.width))?,
        Format::Wide => out.text(&profiles::wide_table(&found.profiles, out.style(), out.width))?,
    }
    profiles::notes(found).iter().for_each(|note| out.note(note));
    Ok(())
}

async fn watch(out: &mut Output<'_>, client: &Client, wanted: Option<&Profile>) -> Ending {
    let opened = timeout(CALL_DEADLINE, client.watch_profiles(None)).await;
    let mut watch = opened.unwrap_or(Err(CallError::DeadlineExceeded))?;
    while let Some(ProfileWatchUpdate { revision, event }) = watch.next().await? {
        let is_other = |name: &Profile| wanted.is_some_and(|wanted| wanted != name);
        let event = match event {
            ProfileWatchEvent::Snapshot(list) => ProfileWatchEvent::Snapshot(only(list, wanted)?),
            ProfileWatchEvent::Changed(profile) if is_other(&profile.name) => continue,
            ProfileWatchEvent::Removed(name) if is_other(&name) => continue,
            event @ (ProfileWatchEvent::Changed(_)
            | ProfileWatchEvent::Removed(_)
            | ProfileWatchEvent::Problems(_)
            | ProfileWatchEvent::Resumed) => event,
        };
        print(out, &ProfileWatchUpdate { revision, event })?;
    }
    Err(CallError::Disconnected("the daemon ended the watch".to_owned()).into())
}

fn print(out: &mut Output<'_>, update: &ProfileWatchUpdate) -> Result<(), Failure> {
    let event = &update.event;
    match out.format {
        Format::Json | Format::Yaml => return out.record(&ProfileWatchView::of(update)),
        Format::Name => {
            return out.text(&match event {
                ProfileWatchEvent::Snapshot(list) => profiles::names(&list.profiles),
                ProfileWatchEvent::Changed(profile) => profile.name.to_string(),
                ProfileWatchEvent::Removed(name) => name.to_string(),
                ProfileWatchEvent::Problems(_) | ProfileWatchEvent::Resumed => String::new(),
            });
        }
        Format::Table | Format::Wide => {}
    }
    let (now, style) = (out.now(), out.style());
    let line = |profile: &AwsProfile| profiles::changed(profile, now, style);
    match event {
        ProfileWatchEvent::Snapshot(ProfileList { profiles, problems }) => {
            out.text(&profiles.iter().map(line).collect::<String>())?;
            problems.iter().for_each(|problem| out.note(&problem.to_string()));
        }
        ProfileWatchEvent::Changed(profile) => out.text(&line(profile))?,
        ProfileWatchEvent::Removed(name) => out.text(&profiles::removed(name, now))?,
        ProfileWatchEvent::Problems(problems) => {
            problems.iter().for_each(|problem| out.note(&problem.to_string()));
        }
        ProfileWatchEvent::Resumed => {}
    }
    Ok(())
}
