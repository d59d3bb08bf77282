//! Whether AWS is asked about a profile, and what is shown where it is not.

use stormtunnel_model::{FaultKind, OnDemand, ProfileState};

use super::directory::ConfiguredProfile;
use super::standing::Standing;

/// What made us look at a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It is new, or another one.
    Edited,
    /// Its sign-in stands otherwise than before.
    SignIn {
        /// It has a token, and had none.
        regained: bool,
    },
    /// The machine has another network, or is awake again.
    Reachable,
    /// Somebody wants to know.
    Asked,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Keep,
    /// Show this.
    Show(ProfileState),
    /// Ask AWS.
    Check,
}

/// `busy`: AWS is being asked, or about to be.
pub(super) fn decide(
    profile: &ConfiguredProfile,
    standing: Option<&Standing>,
    shown: &ProfileState,
    busy: bool,
    occasion: Occasion,
) -> Decision {
    if let Some(fault) = &profile.invalid {
        return Decision::Show(ProfileState::Invalid { fault: fault.clone() });
    }
    match (standing, profile.on_demand) {
        (Some(Standing::Lost { fault }), _) => Decision::Show(ProfileState::Invalid { fault: fault.clone() }),
        _ if occasion == Occasion::Asked => Decision::Check,
        (_, Some(why)) => put_off(why, shown, busy, occasion),
        (Some(Standing::OnDemand), None) => put_off(OnDemand::RenewsToken, shown, busy, occasion),
        (Some(Standing::Awaited { trouble }), None) => {
            let waits = !busy && matches!(shown, ProfileState::Checking | ProfileState::Unknown { .. });
            let news = occasion == Occasion::Edited || waits || needs_login(shown);
            if !news {
                return Decision::Keep;
            }
            Decision::Show(match trouble {
                Some(fault) => ProfileState::Unknown { fault: fault.clone() },
                None => ProfileState::Checking,
            })
        }
        (Some(Standing::Good { .. }) | None, None) => match occasion {
            Occasion::Edited | Occasion::Asked | Occasion::SignIn { regained: true } => Decision::Check,
            Occasion::SignIn { regained: false } if shown.principal().is_some() => Decision::Keep,
            Occasion::SignIn { regained: false } => Decision::Check,
            Occasion::Reachable if !busy && matches!(shown, ProfileState::Unknown { .. }) => Decision::Check,
            Occasion::Reachable => Decision::Keep,
        },
    }
}

/// One that is not checked by itself. What is known of it stays, unless it is that a login is needed, which is over.
fn put_off(why: OnDemand, shown: &ProfileState, busy: bool, occasion: Occasion) -> Decision {
    let waits = !busy && *shown == ProfileState::Checking;
    if occasion == Occasion::Edited || waits || needs_login(shown) {
        Decision::Show(ProfileState::Unchecked { why })
    } else {
        Decision::Keep
    }
}

fn needs_login(shown: &ProfileState) -> bool {
    let kind = shown.fault().map(|fault| &fault.kind);
    kind.is_some_and(|kind| matches!(kind, FaultKind::SignInNeeded { .. }))
}

#[cfg(test)]
mod tests {
    use stormtunnel_model::{Fault, ProfileKind, Timestamp};

    use super::*;

    const EDITED: Occasion = Occasion::Edited;
    const REGAINED: Occasion = Occasion::SignIn { regained: true };
    const RENEWED: Occasion = Occasion::SignIn { regained: false };
    const REACHABLE: Occasion = Occasion::Reachable;
    const ASKED: Occasion = Occasion::Asked;

    fn profile() -> ConfiguredProfile {
        ConfiguredProfile {
            version: 1,
            kind: Some(ProfileKind::Sso),
            region: None,
            home_region: None,
            sign_in: Some("corp".parse().unwrap()),
            account: None,
            role: None,
            invalid: None,
            on_demand: None,
        }
    }

    fn needed() -> Fault {
        Fault::new(FaultKind::SignInNeeded { sign_in: "corp".to_owned() }, "nobody signed in")
    }

    fn offline() -> ProfileState {
        ProfileState::Unknown { fault: Fault::new(FaultKind::Network, "") }
    }

    fn connected() -> ProfileState {
        let principal = "arn:aws:sts::1:assumed-role/Dev/ada".parse().unwrap();
        ProfileState::Connected { principal, at: Timestamp::from_millis(1) }
    }

    fn good() -> Standing {
        Standing::Good { until: Timestamp::from_millis(9) }
    }

    fn of(standing: &Standing, shown: &ProfileState, occasion: Occasion) -> Decision {
        decide(&profile(), Some(standing), shown, false, occasion)
    }

    #[test]
    fn a_profile_that_cannot_have_credentials_is_never_asked_about() {
        let fault = Fault::new(FaultKind::CredentialsInvalid { profile: "p".to_owned() }, "config:1: …");
        let broken = ConfiguredProfile { invalid: Some(fault.clone()), ..profile() };
        for occasion in [EDITED, REGAINED, RENEWED, REACHABLE, ASKED] {
            let decided = decide(&broken, Some(&good()), &connected(), true, occasion);
            assert_eq!(decided, Decision::Show(ProfileState::Invalid { fault: fault.clone() }));
            let lost = of(&Standing::Lost { fault: needed() }, &connected(), occasion);
            assert_eq!(lost, Decision::Show(ProfileState::Invalid { fault: needed() }));
        }
    }

    #[test]
    fn a_token_that_comes_back_is_a_reason_to_ask_and_one_that_is_renewed_is_none() {
        let invalid = ProfileState::Invalid { fault: needed() };
        for shown in [connected(), invalid.clone(), offline()] {
            assert_eq!(of(&good(), &shown, EDITED), Decision::Check);
            assert_eq!(of(&good(), &shown, REGAINED), Decision::Check);
        }
        assert_eq!(of(&good(), &connected(), RENEWED), Decision::Keep);
        assert_eq!(of(&good(), &invalid, RENEWED), Decision::Check);
    }

    #[test]
    fn a_network_helps_those_that_had_none() {
        assert_eq!(of(&good(), &offline(), REACHABLE), Decision::Check);
        assert_eq!(decide(&profile(), Some(&good()), &offline(), true, REACHABLE), Decision::Keep);
        assert_eq!(of(&good(), &connected(), REACHABLE), Decision::Keep);
        assert_eq!(of(&good(), &ProfileState::Invalid { fault: needed() }, REACHABLE), Decision::Keep);
    }

    #[test]
    fn nobody_is_bothered_who_did_not_ask() {
        let why = OnDemand::AsksForCode;
        let mfa = ConfiguredProfile { on_demand: Some(why), ..profile() };
        let decided = |shown: &ProfileState, occasion| decide(&mfa, Some(&good()), shown, false, occasion);
        let unchecked = Decision::Show(ProfileState::Unchecked { why });
        assert_eq!(decided(&connected(), EDITED), unchecked);
        assert_eq!(decided(&connected(), REGAINED), Decision::Keep);
        assert_eq!(decided(&ProfileState::Invalid { fault: needed() }, REGAINED), unchecked);
        assert_eq!(decided(&offline(), REACHABLE), Decision::Keep);
        assert_eq!(decided(&connected(), ASKED), Decision::Check);
        let renews = Decision::Show(ProfileState::Unchecked { why: OnDemand::RenewsToken });
        assert_eq!(of(&Standing::OnDemand, &ProfileState::Checking, EDITED), renews);
        assert_eq!(of(&Standing::OnDemand, &connected(), RENEWED), Decision::Keep);
        assert_eq!(of(&Standing::OnDemand, &connected(), ASKED), Decision::Check);
    }

    #[test]
    fn a_sign_in_that_is_not_known_yet_is_waited_for() {
        let (silent, trouble) = (Standing::Awaited { trouble: None }, Fault::new(FaultKind::Network, "x"));
        assert_eq!(of(&silent, &offline(), EDITED), Decision::Show(ProfileState::Checking));
        let troubled = Standing::Awaited { trouble: Some(trouble.clone()) };
        let shown = Decision::Show(ProfileState::Unknown { fault: trouble });
        assert_eq!(of(&troubled, &ProfileState::Checking, RENEWED), shown);
        assert_eq!(
            of(&troubled, &connected(), RENEWED),
            Decision::Keep,
            "its credentials may outlive the token"
        );
        let busy = decide(&profile(), Some(&troubled), &ProfileState::Checking, true, RENEWED);
        assert_eq!(busy, Decision::Keep);
        assert_eq!(of(&silent, &ProfileState::Checking, ASKED), Decision::Check);
    }
}
