//! Profiles for people.

use std::fmt::Write as _;

use comfy_table::{Cell, Table};
use stormtunnel_model::{
    AwsProfile, Fault, FaultKind, Principal, Profile, ProfileList, ProfileRule, ProfileState, Timestamp,
};

use super::details::row;
use super::tables::{cell_colour, finished, fitted, table as new_table};
use super::{Style, Tone, times};
use crate::exit::{Problem, quoted};

/// What is said where there is none.
pub const NONE: &str = "the AWS files have no profiles; `aws configure sso` makes one";

/// A column: its heading, and what stands in it.
type Column = (&'static str, fn(&AwsProfile) -> Option<String>);

const COLUMNS: [Column; 6] = [
    ("PROFILE", |one| Some(one.name.to_string())),
    ("KIND", |one| one.kind.map(|kind| kind.name().to_owned())),
    ("REGION", |one| one.region.as_ref().map(ToString::to_string)),
    ("ACCOUNT", |one| one.shown_account().map(str::to_owned)),
    ("ROLE", |one| one.shown_role().map(str::to_owned)),
    ("SIGN-IN", |one| one.sign_in.as_ref().map(ToString::to_string)),
];

/// What is left out first where a terminal is too narrow; `-o wide` has all of it.
const LEFT_OUT: [&str; 4] = ["SIGN-IN", "REGION", "KIND", "ROLE"];

/// One line per profile, whatever the width.
pub fn table(profiles: &[AwsProfile], style: Style, width: Option<u16>) -> String {
    let fits = |text: &str| {
        width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= usize::from(width)))
    };
    let shown = |left_out: usize| {
        let kept = COLUMNS.into_iter().filter(|(heading, _)| !LEFT_OUT[..left_out].contains(heading));
        kept.collect::<Vec<Column>>()
    };
    let columns = (0..LEFT_OUT.len()).map(shown).find(|columns| {
        // Colours have no width.
        fits(&finished(&mut rows(profiles, columns, Style::default()), 0))
    });
    fitted(&mut rows(profiles, &columns.unwrap_or_else(|| shown(LEFT_OUT.len())), style), width)
}

/// One line per profile with everything that there is to say.
pub fn wide_table(profiles: &[AwsProfile], style: Style, width: Option<u16>) -> String {
    let principal: Column = ("PRINCIPAL", |one| one.state.principal().map(ToString::to_string));
    let columns: Vec<Column> = COLUMNS.into_iter().chain([principal]).collect();
    fitted(&mut rows(profiles, &columns, style), width)
}

fn rows(profiles: &[AwsProfile], columns: &[Column], style: Style) -> Table {
    let (head, more) = columns.split_at(COLUMNS.len().min(columns.len()));
    let headings: Vec<&str> = head
        .iter()
        .map(|(heading, _)| *heading)
        .chain(["STATE"])
        .chain(more.iter().map(|(heading, _)| *heading))
        .collect();
    let mut table = new_table(&headings, style, None);
    let or_dash = |text: Option<String>| Cell::new(text.unwrap_or_else(|| "-".to_owned()));
    for profile in profiles {
        let cells =
            |columns: &[Column]| columns.iter().map(|(_, text)| or_dash(text(profile))).collect::<Vec<_>>();
        let state = Cell::new(profile.state.label());
        let state = if style.colour { state.fg(cell_colour(tone(&profile.state))) } else { state };
        let mut row = cells(head);
        row.push(state);
        row.extend(cells(more));
        table.add_row(row);
    }
    table
}

fn tone(state: &ProfileState) -> Tone {
    match state {
        ProfileState::Connected { .. } => Tone::Good,
        ProfileState::Checking | ProfileState::Unknown { .. } => Tone::Moving,
        ProfileState::Invalid { .. } => Tone::Bad,
        ProfileState::Unchecked { .. } => Tone::Off,
    }
}

/// Names, one per line.
pub fn names(profiles: &[AwsProfile]) -> String {
    profiles.iter().map(|profile| format!("{}\n", profile.name)).collect()
}

/// What a person has to know beside the table, one sentence each: why credentials are of no use, and what is wrong in the
/// files.
pub fn notes(list: &ProfileList) -> Vec<String> {
    let why = |profile: &AwsProfile| {
        let unchecked = matches!(profile.state, ProfileState::Unchecked { .. });
        let begins = if unchecked { "not checked by itself: " } else { "" };
        reason(profile).map(|reason| format!("{}: {begins}{reason}", profile.name))
    };
    let problems = list.problems.iter().map(ToString::to_string);
    list.profiles.iter().filter_map(why).chain(problems).collect()
}

/// Why the state is what it is, and what to do.
fn reason(profile: &AwsProfile) -> Option<String> {
    match &profile.state {
        ProfileState::Connected { .. } | ProfileState::Checking => None,
        ProfileState::Invalid { fault } => match login(profile, fault) {
            Some(login) => Some(format!("{fault}; {login}")),
            None => Some(fault.to_string()),
        },
        ProfileState::Unknown { fault } => Some(fault.to_string()),
        ProfileState::Unchecked { why } => {
            let name = quoted(profile.name.as_str());
            Some(format!("{}; `stctl whoami --profile {name}` checks it", why.in_words()))
        }
    }
}

/// How to sign in, where that helps.
fn login(profile: &AwsProfile, fault: &Fault) -> Option<String> {
    let FaultKind::SignInNeeded { .. } = &fault.kind else { return None };
    Some(format!("sign in with `stctl sso login --profile {}`", quoted(profile.name.as_str())))
}

/// The problem with a remedy for a profile, where that of its kind is for tunnels.
pub(crate) fn remedied(problem: Problem, profile: &AwsProfile, fault: &Fault) -> Problem {
    let name = quoted(profile.name.as_str());
    let of_credentials = matches!(fault.kind, FaultKind::CredentialsInvalid { .. });
    let remedy = if let Some(login) = login(profile, fault) {
        login
    } else if of_credentials && profile.kind.is_none() {
        // Its line says how.
        "correct the file; the daemon notices, and `stctl profiles` shows all that is wrong".to_owned()
    } else if of_credentials {
        format!(
            "renew the credentials of the profile in the AWS files; the daemon notices; \
             `stctl whoami --profile {name}` checks them again"
        )
    } else if matches!(fault.kind, FaultKind::PermissionDenied { .. }) {
        "ask the administrator of the AWS account to allow this action".to_owned()
    } else if matches!(fault.kind, FaultKind::Network | FaultKind::Throttled) {
        "check the network, VPN and proxy, then repeat the command".to_owned()
    } else {
        return problem;
    };
    Problem { remedy, ..problem }
}

/// A profile that is not in the files, with a remedy that is not for tunnels.
pub(crate) fn not_found(problem: Problem) -> Problem {
    let remedy = "`stctl profiles` lists the profiles there are; `aws configure sso` adds one".to_owned();
    Problem { remedy, ..problem }
}

/// A profile is new or different.
pub fn changed(profile: &AwsProfile, now: Timestamp, style: Style) -> String {
    let state = style.paint(profile.state.label(), tone(&profile.state));
    let more = match (profile.state.principal(), reason(profile)) {
        (Some(principal), _) => format!(" {principal}"),
        (None, Some(reason)) => format!(": {reason}"),
        (None, None) => String::new(),
    };
    format!("{}  {}  {state}{more}\n", times::clock(now), profile.name)
}

/// A profile is gone.
pub fn removed(name: &Profile, now: Timestamp) -> String {
    format!("{}  {name}  removed\n", times::clock(now))
}

/// What chose the profile, where the command named none; stable, for programs as well.
pub fn rule(rule: ProfileRule) -> &'static str {
    match rule {
        ProfileRule::Asked => "request",
        ProfileRule::Setting => "aws.default_profile",
        ProfileRule::Default => "default",
        ProfileRule::Other => "other",
    }
}

/// Who AWS takes the credentials for.
pub fn whoami(profile: &AwsProfile, rule: &str) -> String {
    let principal = profile.state.principal();
    let part = |part: fn(&Principal) -> Option<&str>| principal.and_then(part).unwrap_or("-");
    let mut text = String::new();
    let _infallible = writeln!(text, "{}", principal.map_or("-", |principal| principal.as_str()));
    row(&mut text, "account", profile.shown_account().unwrap_or("-"));
    row(&mut text, "role", profile.shown_role().unwrap_or("-"));
    row(&mut text, "user", part(Principal::user));
    row(&mut text, "profile", &format!("{} (by {rule})", profile.name));
    row(&mut text, "kind", profile.kind.map_or("-", |kind| kind.name()));
    row(&mut text, "region", profile.region.as_ref().map_or("-", |region| region.as_str()));
    if let Some(sign_in) = &profile.sign_in {
        row(&mut text, "sign-in", sign_in.as_str());
    }
    text
}
