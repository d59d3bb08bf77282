//! What a person reads while a verb takes longer than a second.

use crate::cli::{DaemonVerb, DoctorVerb, ProfileVerb, SettingsVerb, SsoVerb, TunnelVerb, Verb};

/// Of most verbs, which need just an answer.
pub(crate) const DAEMON: &str = "waiting for the daemon";

/// What the verb waits for; nothing for those that show what happens as long as somebody looks, and for those that leave the
/// terminal to another program.
pub(super) fn of(verb: &Verb) -> Option<&'static str> {
    if verb.follows() {
        return None;
    }
    Some(match verb {
        Verb::Tunnel(TunnelVerb::Rm(_)) => "ending sessions",
        Verb::Targets(_) => "asking AWS what tunnels can go through",
        Verb::Profile(ProfileVerb::Whoami) => "asking AWS who this is",
        Verb::Sso(SsoVerb::Login(_)) => "waiting for the sign-in",
        Verb::Sso(SsoVerb::Logout(_)) => "signing out",
        Verb::Sso(SsoVerb::Refresh(_)) => "renewing the token",
        Verb::Doctor(DoctorVerb::Doctor(_)) => "checking",
        Verb::Doctor(DoctorVerb::Bugreport(_)) => "collecting",
        Verb::Daemon(verb) => return of_daemon(verb),
        Verb::Manual(_) | Verb::Settings(SettingsVerb::Edit) => return None,
        Verb::Tunnel(TunnelVerb::Add(_) | TunnelVerb::Edit(_) | TunnelVerb::Show(_))
        | Verb::Up(_)
        | Verb::Down(_)
        | Verb::Restart(_)
        | Verb::Ls(_)
        | Verb::Status(_)
        | Verb::Watch(_)
        | Verb::Events(_)
        | Verb::Explain(_)
        | Verb::Stats(_)
        | Verb::Profile(ProfileVerb::Profiles(_))
        | Verb::Wait(_)
        | Verb::Sso(SsoVerb::Status(_) | SsoVerb::Configure(_))
        | Verb::Settings(
            SettingsVerb::Get { .. }
            | SettingsVerb::Set { .. }
            | SettingsVerb::Unset { .. }
            | SettingsVerb::Path,
        ) => DAEMON,
    })
}

fn of_daemon(verb: &DaemonVerb) -> Option<&'static str> {
    match verb {
        DaemonVerb::Run | DaemonVerb::Logs { .. } => None,
        DaemonVerb::Status => Some(DAEMON),
        DaemonVerb::Start => Some("starting the daemon"),
        DaemonVerb::Stop { .. } => Some("waiting for sessions to end"),
        DaemonVerb::Restart => Some("restarting the daemon"),
        DaemonVerb::Install { .. } => Some("installing the service"),
        DaemonVerb::Uninstall { .. } => Some("removing the service"),
    }
}
