//! What notifications say.

use std::time::Duration;

use stormtunnel_model::{Fault, Subject, Tunnel, quoted};

use super::{Notification, NotificationKind};

/// Names of tunnels that are listed.
const NAMES: usize = 3;
/// Longest text of a fault, in bytes: some services answer with whole pages.
const FAULT: usize = 200;

pub(super) fn needed(sign_in: &str, tunnels: usize, reason: Option<&str>) -> Notification {
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let wait = if tunnels == 1 { "waits" } else { "wait" };
    Notification {
        kind: NotificationKind::SignInNeeded,
        title: format!("SSO login to {sign_in} needed"),
        body: format!(
            "{} {wait} for a login to {sign_in}{reason}: stctl sso login {}",
            count(tunnels),
            quoted(sign_in)
        ),
    }
}

pub(super) fn expiring(sign_in: &str, tunnels: usize, left: Duration) -> Notification {
    let minutes = left.as_secs().div_ceil(60);
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    let need = if tunnels == 1 { "needs" } else { "need" };
    Notification {
        kind: NotificationKind::SignInExpiring,
        title: format!("SSO login to {sign_in} ends in {minutes} {unit}"),
        body: format!(
            "It cannot be renewed by itself, and {} {need} it: stctl sso login {}",
            count(tunnels),
            quoted(sign_in)
        ),
    }
}

/// The tunnels that are blocked; the fault is that of the first.
pub(super) fn blocked(first: &Tunnel, fault: &Fault, others: &[&Tunnel]) -> Notification {
    let kind = NotificationKind::TunnelsBlocked;
    let name = &first.spec.name;
    if others.is_empty() {
        let subject = Subject::of(first);
        let said = Fault::new(fault.kind.clone(), fault.detail_for(subject));
        let title = format!("Tunnel {name} is blocked");
        let body = format!("{}. Fix: {}", one_line(&said.to_string()), fault.kind.remedy_for(subject));
        return Notification { kind, title, body };
    }
    let listed: Vec<&str> = others.iter().take(NAMES - 1).map(|tunnel| tunnel.spec.name.as_str()).collect();
    let rest = match others.len() - listed.len() {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    Notification {
        kind,
        title: format!("{} are blocked", count(others.len() + 1)),
        body: format!(
            "{name}: {}. Also {}{rest}: stctl ls",
            one_line(&fault.kind.to_string()),
            listed.join(", ")
        ),
    }
}

fn count(tunnels: usize) -> String {
    if tunnels == 1 { "1 tunnel".to_owned() } else { format!("{tunnels} tunnels") }
}

/// Without line ends and control characters, and not too long.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let mut line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.len() > FAULT {
        line.truncate(line.floor_char_boundary(FAULT));
        line.push('…');
    }
    line
}
