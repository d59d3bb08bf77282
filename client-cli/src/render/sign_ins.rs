//! Sign-ins and logins for people.

use comfy_table::Cell;
use stormtunnel_model::{Renewal, RenewalRule, SignIn, SignInActivity, SignInProfile, SignInState};

use super::tables::{cell_colour, fitted, table as new_table};
use super::times::stamp;
use super::{Style, Tone};
use crate::exit::quoted;

/// What is said where there is none.
pub const NONE: &str = "no AWS profile signs in with SSO";

/// One line per sign-in; of a wide table one per profile, which has its own credentials from the same token.
pub fn table(sign_ins: &[SignIn], wide: bool, style: Style, width: Option<u16>) -> String {
    let header: &[&str] = if wide {
        &["SIGN-IN", "STATE", "RENEWAL", "PROFILE", "ACCOUNT", "ROLE", "START URL", "SSO REGION"]
    } else {
        &["SIGN-IN", "STATE", "RENEWAL", "PROFILES"]
    };
    let mut table = new_table(header, style, None);
    for one in sign_ins {
        let outlook = outlook(&one.status.state);
        // The reason, which is in parentheses, is for wide tables.
        let outlook = if wide { &outlook } else { outlook.split(" (").next().unwrap_or_default() };
        let common = || [Cell::new(&one.name), state_cell(&one.status.state, style), Cell::new(outlook)];
        if wide {
            for profile in rows(&one.profiles) {
                let mut cells: Vec<Cell> = common().into();
                cells.extend(profile.map(Cell::new));
                cells.extend([Cell::new(&one.start_url), Cell::new(&one.region)]);
                table.add_row(cells);
            }
        } else {
            let names: Vec<&str> = one.profiles.iter().map(|one| one.profile.as_str()).collect();
            let names = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
            table.add_row(common().into_iter().chain([Cell::new(names)]));
        }
    }
    fitted(&mut table, width)
}

/// Profile, account and role of each profile; one row of dashes where there is none.
fn rows(profiles: &[SignInProfile]) -> Vec<[String; 3]> {
    let dash = || "-".to_owned();
    let row = |one: &SignInProfile| {
        let (account, role) = (one.account.clone(), one.role.clone());
        [one.profile.to_string(), account.unwrap_or_else(dash), role.unwrap_or_else(dash)]
    };
    if profiles.is_empty() { vec![[dash(), dash(), dash()]] } else { profiles.iter().map(row).collect() }
}

fn state_cell(state: &SignInState, style: Style) -> Cell {
    let tone = match state {
        SignInState::Unknown => Tone::Off,
        SignInState::Authenticated { .. } => Tone::Good,
        SignInState::ExpiringSoon { .. } | SignInState::Expired { .. } if state.needs_login().is_none() => {
            Tone::Moving
        }
        SignInState::ExpiringSoon { .. } | SignInState::Expired { .. } | SignInState::NeedsLogin { .. } => {
            Tone::Bad
        }
    };
    let cell = Cell::new(state.label());
    if style.colour { cell.fg(cell_colour(tone)) } else { cell }
}

/// What becomes of the token, and when.
pub fn outlook(state: &SignInState) -> String {
    match state {
        SignInState::Unknown => "-".to_owned(),
        SignInState::Authenticated { expires_at, renewal: Renewal::OnDemand }
        | SignInState::ExpiringSoon { expires_at, renewal: Renewal::OnDemand } => {
            format!("when it is needed after {} (auto_refresh is off)", stamp(*expires_at))
        }
        SignInState::Authenticated { expires_at, renewal: Renewal::Impossible(_) }
        | SignInState::ExpiringSoon { expires_at, renewal: Renewal::Impossible(_) } => {
            format!("sign in before {}", stamp(*expires_at))
        }
        SignInState::Authenticated { renewal, .. }
        | SignInState::ExpiringSoon { renewal, .. }
        | SignInState::Expired { renewal, .. } => of_renewal(*renewal),
        SignInState::NeedsLogin { .. } => "sign in".to_owned(),
    }
}

fn of_renewal(renewal: Renewal) -> String {
    match renewal {
        Renewal::At { at, rule } => format!("renews at {} ({})", stamp(at), rule_name(rule)),
        Renewal::WhenAwake => "renews when the machine is awake".to_owned(),
        Renewal::OnDemand => "when it is needed (auto_refresh is off)".to_owned(),
        Renewal::Impossible(_) => "sign in".to_owned(),
    }
}

/// The rule, as short as a table needs it.
fn rule_name(rule: RenewalRule) -> &'static str {
    match rule {
        RenewalRule::Threshold => "refresh_threshold",
        RenewalRule::EarlyTwentyMinutes | RenewalRule::EarlyThird => "early_renewal",
        RenewalRule::HalfOfLifetime => "half of its lifetime",
        RenewalRule::Retry => "the last try failed",
        RenewalRule::Other => "as the daemon decides",
    }
}

/// What a person has to know beside the table, one sentence each.
pub fn notes(sign_ins: &[SignIn]) -> Vec<String> {
    let of_one = |one: &SignIn| {
        let name = &one.name;
        let login = one.status.state.needs_login().map(|reason| {
            format!("{name}: {reason}; sign in with `stctl sso login {}`", quoted(name.as_str()))
        });
        let running = match &one.status.activity {
            Some(SignInActivity::LoggingIn(_)) => Some(format!("{name}: somebody is logging in")),
            Some(SignInActivity::Reading | SignInActivity::Renewing) | None => None,
        };
        let trouble = one.status.trouble.as_ref().map(|fault| format!("{name}: {fault}"));
        [login, running, trouble]
    };
    sign_ins.iter().flat_map(of_one).flatten().collect()
}

/// What is said after a login.
pub fn signed_in(sign_in: &SignIn) -> String {
    format!("{}: signed in; {}", sign_in.name, outlook(&sign_in.status.state))
}

/// What is said after a renewal.
pub fn renewed(sign_in: &SignIn) -> String {
    format!("{}: renewed; {}", sign_in.name, outlook(&sign_in.status.state))
}
