//! What observations mean: one finding per check. Pure.

use std::time::Duration;

use stormtunnel_model::{
    CheckedProfile, Fault, FaultKind, FileProblem, Finding, LoginReason, Outcome, Profile, Recovery, Renewal,
    SignIn, SignInState, Tunnel, TunnelState,
};

use super::{Desktop, OpenPath, ProxySeen, Visit};

/// Id and title of a check.
pub type Check = (&'static str, &'static str);

/// Modes in the state directory.
pub const STATE_FILES: Check = ("files.state", "modes of the daemon's files");
/// Modes of the files of the AWS CLI.
pub const AWS_FILES: Check = ("files.aws", "modes of the AWS files");
/// What cannot be read in the AWS files.
pub const PROFILES: Check = ("profiles.syntax", "AWS files");
/// Keys without an end.
pub const KEYS: Check = ("profiles.keys", "keys in the credentials file");
/// Whether AWS takes the credentials.
pub const CREDENTIALS: Check = ("credentials", "credentials of profiles in use");
/// Tokens.
pub const SIGN_INS: Check = ("sign_ins.token", "SSO tokens");
/// Pages of logins.
pub const START_URLS: Check = ("sign_ins.start_url", "start URLs");
/// Names of endpoints.
pub const DNS: Check = ("network.dns", "names of AWS endpoints");
/// Answers of endpoints.
pub const ENDPOINTS: Check = ("network.endpoints", "AWS endpoints in use");
/// The clock.
pub const CLOCK: Check = ("clock", "clock against AWS's");
/// The proxy.
pub const PROXY: Check = ("network.proxy", "HTTP proxy");
/// Certificate authorities.
pub const AUTHORITIES: Check = ("network.ca", "certificate authorities");
/// What opens pages.
pub const BROWSER: Check = ("browser", "browser for logins");
/// What shows notifications.
pub const NOTIFICATIONS: Check = ("notifications", "desktop notifications");
/// Where tokens are kept.
pub const KEY_STORE: Check = ("key_store", "key store");
/// Ports that others hold.
pub const PORTS: Check = ("ports", "local ports of tunnels");

/// From here on AWS refuses signatures.
const CLOCK_FAILS: Duration = Duration::from_secs(5 * 60);
/// From here on a person should know.
const CLOCK_WARNS: Duration = Duration::from_secs(60);

fn found((id, title): Check, outcome: Outcome, detail: impl Into<String>) -> Finding {
    Finding::new(id, title, outcome, detail)
}

/// Worst of several troubles, one line each; or all is well.
fn of_troubles(check: Check, troubles: Vec<(Outcome, String)>, well: &str, remedy: &str) -> Finding {
    let Some(outcome) = troubles.iter().map(|(outcome, _)| *outcome).max() else {
        return found(check, Outcome::Pass, well);
    };
    let lines: Vec<String> = troubles.into_iter().map(|(_, line)| line).collect();
    found(check, outcome, lines.join("\n")).with_remedy(remedy)
}

/// Modes of files.
pub fn files(check: Check, open: &[OpenPath]) -> Finding {
    let mut fixed = Vec::new();
    let mut troubles = Vec::new();
    for OpenPath { path, mode, wanted, closed } in open {
        let path = path.display();
        match closed {
            Some(Ok(())) => fixed.push(format!("{path} had mode {mode:04o} and has {wanted:04o} now")),
            Some(Err(why)) => {
                troubles.push((
                    Outcome::Fail,
                    format!("{path} has mode {mode:04o} and cannot be changed: {why}"),
                ));
            }
            None => troubles.push((Outcome::Fail, format!("{path} has mode {mode:04o}, not {wanted:04o}"))),
        }
    }
    let fixable = open.iter().any(|path| path.closed.is_none());
    let remedy = if fixable {
        "`stctl doctor --fix` closes them to others"
    } else {
        "whoever they belong to has to close them (`chmod go-rwx`); what lies there should be yours"
    };
    let finding = of_troubles(check, troubles, "only you can read them", remedy);
    Finding { fixable, fixed: fixed.join("\n"), ..finding }
}

/// What cannot be read in the AWS files.
pub fn profiles(problems: &[FileProblem]) -> Finding {
    let troubles = problems.iter().map(|problem| (Outcome::Fail, problem.to_string())).collect();
    of_troubles(
        PROFILES,
        troubles,
        "every line can be read",
        "correct these lines; the daemon notices by itself",
    )
}

/// Keys without an end.
pub fn keys(profiles: &[Profile]) -> Finding {
    let names: Vec<&str> = profiles.iter().map(Profile::as_str).collect();
    if names.is_empty() {
        return found(KEYS, Outcome::Pass, "no profile has keys that never end");
    }
    found(KEYS, Outcome::Warn, format!("keys that never end lie in plain text: {}", names.join(", ")))
        .with_remedy("sign in with IAM Identity Center instead (`stctl sso configure`), then delete the keys")
}

/// What AWS says of the profiles in use.
pub fn credentials(checked: &[(Option<Profile>, Result<CheckedProfile, Fault>)]) -> Finding {
    if checked.is_empty() {
        return found(
            CREDENTIALS,
            Outcome::Skipped,
            "no tunnel and no default profile uses any, or a check would bother you: `stctl whoami` does it",
        );
    }
    let mut remedies = Vec::new();
    let mut troubles = Vec::new();
    for (name, checked) in checked {
        let fault = match checked {
            Ok(checked) => checked.profile.state.fault(),
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            let name = name.as_ref().map_or("default", Profile::as_str);
            let passes = matches!(fault.recovery(), Recovery::Retry);
            let outcome = if passes { Outcome::Warn } else { Outcome::Fail };
            troubles.push((outcome, format!("{name}: {fault}")));
            remedies.push(fault.kind.remedy());
        }
    }
    remedies.retain(|remedy| !remedy.is_empty());
    let remedy = remedies.first().copied().unwrap_or("`stctl whoami --profile NAME` says more");
    of_troubles(CREDENTIALS, troubles, "AWS takes them", remedy)
}

/// Tokens.
pub fn sign_ins(sign_ins: &[SignIn]) -> Finding {
    if sign_ins.is_empty() {
        return found(SIGN_INS, Outcome::Skipped, "no profile uses IAM Identity Center");
    }
    let trouble = |sign_in: &SignIn| {
        let name = &sign_in.name;
        match &sign_in.status.state {
            SignInState::ExpiringSoon { renewal: Renewal::Impossible(_), .. } => {
                Some((Outcome::Warn, format!("{name}: the token ends soon and cannot be renewed")))
            }
            SignInState::Expired { renewal: Renewal::Impossible(_), .. } => {
                Some((Outcome::Fail, format!("{name}: the token has expired")))
            }
            SignInState::Expired { .. } => {
                Some((Outcome::Warn, format!("{name}: the token is to be renewed")))
            }
            SignInState::NeedsLogin { reason: LoginReason::NeverSignedIn } => {
                Some((Outcome::Warn, format!("{name}: nobody signed in yet")))
            }
            SignInState::NeedsLogin { .. } => Some((Outcome::Fail, format!("{name}: a login is needed"))),
            SignInState::Unknown | SignInState::Authenticated { .. } | SignInState::ExpiringSoon { .. } => {
                let trouble = sign_in.status.trouble.as_ref();
                trouble.map(|fault| (Outcome::Warn, format!("{name}: {fault}")))
            }
        }
    };
    let troubles = sign_ins.iter().filter_map(trouble).collect();
    of_troubles(
        SIGN_INS,
        troubles,
        "every token is good",
        "`stctl sso login`, and `stctl sso status` for the rest",
    )
}

/// Pages of logins.
pub fn start_urls(visits: &[Visit]) -> Finding {
    if visits.is_empty() {
        return found(START_URLS, Outcome::Skipped, "no profile uses IAM Identity Center");
    }
    let troubles = visits.iter().filter_map(|visit| {
        let why = visit.answer.as_ref().err()?;
        Some((Outcome::Fail, format!("{} ({}): {why}", visit.place.url, visit.place.name)))
    });
    let remedy = "compare the start URL with that of your access portal, and see what is said of the network";
    of_troubles(START_URLS, troubles.collect(), "every page answers", remedy)
}

/// Names, answers and clocks of endpoints.
pub fn network(visits: &[Visit], faults: &[Fault]) -> Vec<Finding> {
    vec![dns(visits), endpoints(visits, faults), clock(visits)]
}

fn dns(visits: &[Visit]) -> Finding {
    let looked_up: Vec<_> =
        visits.iter().filter_map(|visit| Some((visit, visit.resolved.as_ref()?))).collect();
    if looked_up.is_empty() {
        return found(
            DNS,
            Outcome::Skipped,
            "nothing is looked up here: a proxy does that, or there is no endpoint",
        );
    }
    let trouble = |(visit, resolved): &(&Visit, &Result<(), String>)| {
        let why = resolved.as_ref().err()?;
        Some((Outcome::Fail, format!("{} ({}): {why}", visit.place.url, visit.place.name)))
    };
    let troubles = looked_up.iter().filter_map(trouble).collect();
    let remedy = "check the region and the endpoint, your VPN, and the name servers of this machine";
    of_troubles(DNS, troubles, "every name is found", remedy)
}

fn endpoints(visits: &[Visit], faults: &[Fault]) -> Finding {
    let mut troubles: Vec<(Outcome, String)> =
        faults.iter().map(|fault| (Outcome::Fail, fault.to_string())).collect();
    let mut remedy = "check the endpoint, firewall, VPN and proxy between this machine and it";
    for visit in visits {
        let Err(why) = &visit.answer else { continue };
        if is_distrust(why) {
            remedy =
                "name the certificate authority of your network: `stctl settings set network.ca_bundle FILE`";
        }
        troubles.push((Outcome::Fail, format!("{} ({}): {why}", visit.place.url, visit.place.name)));
    }
    if visits.is_empty() && troubles.is_empty() {
        return found(ENDPOINTS, Outcome::Skipped, "no endpoint is in use");
    }
    of_troubles(ENDPOINTS, troubles, "every endpoint answers", remedy)
}

fn is_distrust(why: &str) -> bool {
    ["UnknownIssuer", "certificate"].iter().any(|sign| why.contains(sign))
}

fn clock(visits: &[Visit]) -> Finding {
    let offset = |visit: &Visit| {
        let theirs = (*visit.answer.as_ref().ok()?)?;
        Some((visit.at.since(theirs).max(theirs.since(visit.at)), visit.at < theirs))
    };
    // Caches on the way can only make a date older: the nearest one is right.
    let Some((by, behind)) = visits.iter().filter_map(offset).min() else {
        return found(CLOCK, Outcome::Skipped, "no endpoint told the time");
    };
    let direction = if behind { "behind" } else { "ahead" };
    let detail = format!("this machine's clock is {} s {direction}", by.as_secs());
    let outcome = match by {
        by if by >= CLOCK_FAILS => Outcome::Fail,
        by if by >= CLOCK_WARNS => Outcome::Warn,
        _ => return found(CLOCK, Outcome::Pass, "they agree"),
    };
    found(CLOCK, outcome, detail)
        .with_remedy("have the system set the clock by itself (NTP); AWS refuses calls from 5 minutes on")
}

/// The proxy.
pub fn proxy(seen: Result<Option<ProxySeen>, Fault>) -> Finding {
    let remedy = "correct it: a setting with `stctl settings set`, which counts at once; a variable, then restart the daemon (`stctl daemon stop`): it keeps those it was started with";
    match seen {
        Ok(None) => found(PROXY, Outcome::Pass, "none is named"),
        Ok(Some(ProxySeen { variable, address, answer: Ok(()) })) => {
            found(PROXY, Outcome::Pass, format!("{address} ({variable}) takes connections"))
        }
        Ok(Some(ProxySeen { variable, address, answer: Err(why) })) => {
            found(PROXY, Outcome::Fail, format!("{variable} names {address}: {why}")).with_remedy(remedy)
        }
        Err(fault) => found(PROXY, Outcome::Fail, fault.to_string()).with_remedy(remedy),
    }
}

/// Certificate authorities.
pub fn authorities(faults: &[Fault]) -> Finding {
    let troubles = faults.iter().map(|fault| (Outcome::Fail, fault.to_string())).collect();
    let remedy = "name a PEM file with certificates, or leave the setting, AWS_CA_BUNDLE or the profile's ca_bundle out";
    of_troubles(AUTHORITIES, troubles, "they can be used", remedy)
}

/// What opens pages.
pub fn browser(seen: Desktop) -> Finding {
    desktop(BROWSER, seen, "install it, or use `stctl sso login --use-device-code`")
}

/// What shows notifications.
pub fn notifications(seen: Desktop) -> Finding {
    desktop(
        NOTIFICATIONS,
        seen,
        "start a notification program, or `stctl settings set notifications.enabled false`",
    )
}

fn desktop(check: Check, seen: Desktop, remedy: &str) -> Finding {
    match seen {
        Desktop::Found(what) => found(check, Outcome::Pass, what),
        Desktop::None(why) => found(check, Outcome::Skipped, why),
        Desktop::Broken(why) => found(check, Outcome::Warn, why).with_remedy(remedy),
    }
}

/// Where tokens are kept.
pub fn key_store(read: Result<(), Fault>) -> Finding {
    match read {
        Ok(()) => found(KEY_STORE, Outcome::Pass, "it answers"),
        Err(fault) => found(KEY_STORE, Outcome::Fail, fault.to_string()).with_remedy(fault.kind.remedy()),
    }
}

/// Ports that others hold.
pub fn ports(tunnels: &[Tunnel]) -> Finding {
    let trouble = |tunnel: &Tunnel| {
        let (TunnelState::Blocked { fault } | TunnelState::Retrying { fault, .. }) = &tunnel.status.state
        else {
            return None;
        };
        matches!(fault.kind, FaultKind::PortInUse { .. })
            .then(|| (Outcome::Fail, format!("{}: {fault}", tunnel.spec.name)))
    };
    let troubles = tunnels.iter().filter_map(trouble).collect();
    let remedy = "end the program that holds the port, or `stctl tunnel edit NAME --local PORT`";
    of_troubles(PORTS, troubles, "no tunnel misses its port", remedy)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
