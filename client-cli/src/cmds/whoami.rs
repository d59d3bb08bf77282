//! `whoami`: who AWS takes a profile's credentials for.

use std::time::Duration;

use stormtunnel_model::{CheckedProfile, ExitCode, Fault, FaultKind, Profile, ProfileState};
use stormtunnel_proto::{CallError, Client};

use super::Ending;
use crate::cli::Format;
use crate::context::{Context, PROFILE_FLAG};
use crate::exit::{Problem, Subject};
use crate::render::profile_views::WhoamiView;
use crate::render::profiles;

/// Longest wait for the answer where nobody is asked: a token may have to be renewed, and a program to run.
const CHECK_DEADLINE: Duration = Duration::from_secs(240);

pub(super) async fn run(context: &mut Context<'_>) -> Ending {
    let (profile, named_by) = context.chosen_profile()?.unzip();
    let client = context.client().await?;
    tell(context, &client, profile, named_by).await
}

/// Asks AWS and tells what it says; `named_by` is what chose the profile, where that was not left to the daemon.
pub(super) async fn tell(
    context: &mut Context<'_>,
    client: &Client,
    profile: Option<Profile>,
    named_by: Option<&'static str>,
) -> Ending {
    let client = client.clone().with_deadline(CHECK_DEADLINE);
    let checked = context.attended(client, async |client| client.check_profile(profile).await).await;
    let checked = checked.map_err(|error| unanswered(&error))?;
    let rule = named_by.unwrap_or(profiles::rule(checked.rule));
    let out = &mut context.out;
    let problem = problem(&checked);
    match (out.format, &problem) {
        (Format::Json | Format::Yaml, _) => out.document(&WhoamiView::of(&checked.profile, rule))?,
        (Format::Name, None) => out.text(checked.profile.name.as_str())?,
        (Format::Table | Format::Wide, None) => out.text(&profiles::whoami(&checked.profile, rule))?,
        (Format::Name | Format::Table | Format::Wide, Some(_)) => {}
    }
    let Some(problem) = problem else { return Ok(ExitCode::Ok) };
    let exit = problem.exit;
    let by = |rule| format!("profile \"{}\" was chosen by {rule}", checked.profile.name);
    let note = if rule == PROFILE_FLAG { String::new() } else { by(rule) };
    out.problem(&Problem { note, ..problem });
    Ok(exit)
}

/// Why AWS takes the credentials for nobody.
fn problem(checked: &CheckedProfile) -> Option<Problem> {
    let CheckedProfile { profile, .. } = checked;
    let subject = Subject { tunnel: None, profile: Some(profile.name.as_str()) };
    match &profile.state {
        ProfileState::Connected { .. } => None,
        ProfileState::Invalid { fault } | ProfileState::Unknown { fault } => {
            let problem = Problem { exit: problem_code(checked), ..Problem::of_fault(fault, subject) };
            Some(profiles::remedied(problem, profile, fault))
        }
        // An older daemon may answer before it is through.
        ProfileState::Checking | ProfileState::Unchecked { .. } => {
            let headline = format!("AWS has not answered about profile \"{}\" yet", profile.name);
            Some(Problem {
                remedy: "repeat the command".to_owned(),
                ..Problem::failure("not_checked", headline)
            })
        }
    }
}

/// A script that asks wants to know whether a login would help, and what else there is to mend.
fn problem_code(checked: &CheckedProfile) -> ExitCode {
    match checked.profile.state.fault().map(|fault| &fault.kind) {
        Some(
            kind @ (FaultKind::SignInNeeded { .. }
            | FaultKind::ProfileNotFound { .. }
            | FaultKind::PermissionDenied { .. }),
        ) => kind.exit_code(),
        Some(_) | None => ExitCode::Failure,
    }
}

fn unanswered(error: &CallError) -> Problem {
    let problem = Problem::of_call(error, Subject::default());
    let CallError::Fault(Fault { kind: FaultKind::ProfileNotFound { .. }, .. }) = error else {
        return problem;
    };
    profiles::not_found(problem)
}
