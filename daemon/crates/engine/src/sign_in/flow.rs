//! Which way to sign in, and why.

pub use stormtunnel_model::{LoginFlow, LoginSurroundings, LoginWishes, Opener};
use stormtunnel_model::{SignInForm, SignInName};

/// The way chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginPlan {
    /// The way.
    pub flow: LoginFlow,
    /// How the page is shown.
    pub opener: Opener,
    /// Why this way, as a sentence part.
    pub reason: &'static str,
}

impl LoginPlan {
    /// Whether both go the same way, for whatever reason.
    pub(super) fn goes_as(&self, other: &Self) -> bool {
        self.flow == other.flow && self.opener == other.opener
    }
}

/// Chooses. What the person named wins; else the authorization code, unless its browser could not come back to this
/// machine.
pub fn choose(sign_in: &SignInName, surroundings: LoginSurroundings, wishes: &LoginWishes) -> LoginPlan {
    let obstacle = if surroundings.remote {
        Some("you came through SSH, and a browser at your end cannot reach this machine")
    } else if surroundings.container {
        Some("a browser outside this container cannot reach it")
    } else if surroundings.wsl {
        Some("the browser of Windows may not reach this system")
    } else if !surroundings.display {
        Some("there is no display to show a browser on")
    } else {
        None
    };
    let (flow, reason) = match (wishes.flow, obstacle, sign_in.form()) {
        (Some(flow), _, _) => (flow, "you asked for it"),
        (None, Some(obstacle), _) => (LoginFlow::DeviceCode, obstacle),
        (None, None, SignInForm::StartUrl(_)) => {
            (LoginFlow::DeviceCode, "profiles without an sso-session sign in so, as with the AWS CLI")
        }
        (None, None, SignInForm::Session(_)) => {
            (LoginFlow::AuthorizationCode, "the browser can come back to this machine")
        }
    };
    // A browser that would open where nobody sits is not opened; one that was named is.
    let opener = match (&wishes.opener, obstacle) {
        (Opener::Default, Some(_)) if !surroundings.wsl => Opener::Nobody,
        (wish, _) => wish.clone(),
    };
    LoginPlan { flow, opener, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESK: LoginSurroundings =
        LoginSurroundings { remote: false, container: false, wsl: false, display: true };

    fn plan(
        name: &str,
        surroundings: LoginSurroundings,
        wishes: &LoginWishes,
    ) -> (LoginFlow, Opener, String) {
        let LoginPlan { flow, opener, reason } = choose(&name.parse().unwrap(), surroundings, wishes);
        (flow, opener, reason.to_owned())
    }

    #[test]
    fn a_session_at_a_desk_takes_the_authorization_code() {
        let (flow, opener, _) = plan("corp", DESK, &LoginWishes::default());
        assert_eq!((flow, opener), (LoginFlow::AuthorizationCode, Opener::Default));
    }

    #[test]
    fn where_no_browser_can_come_back_it_is_the_device_code() {
        let places = [
            (LoginSurroundings { remote: true, ..DESK }, Opener::Nobody, "SSH"),
            (LoginSurroundings { container: true, ..DESK }, Opener::Nobody, "container"),
            (LoginSurroundings { display: false, ..DESK }, Opener::Nobody, "display"),
            (LoginSurroundings { wsl: true, ..DESK }, Opener::Default, "Windows"),
        ];
        for (place, opener, word) in places {
            let (flow, chosen, reason) = plan("corp", place, &LoginWishes::default());
            assert_eq!((flow, chosen), (LoginFlow::DeviceCode, opener), "{place:?}");
            assert!(reason.contains(word), "{reason} names the obstacle");
        }
    }

    #[test]
    fn a_legacy_profile_takes_the_device_code_and_says_why() {
        let (flow, opener, reason) = plan("https://x.awsapps.com/start", DESK, &LoginWishes::default());
        assert_eq!((flow, opener), (LoginFlow::DeviceCode, Opener::Default));
        assert!(reason.contains("without an sso-session"), "{reason}");
    }

    #[test]
    fn what_was_asked_for_wins() {
        let remote = LoginSurroundings { remote: true, ..DESK };
        for flow in [LoginFlow::AuthorizationCode, LoginFlow::DeviceCode] {
            let opener = Opener::Command("firefox".to_owned());
            let wishes = LoginWishes { flow: Some(flow), opener: opener.clone() };
            assert_eq!(plan("corp", remote, &wishes), (flow, opener, "you asked for it".to_owned()));
        }
        let silent = LoginWishes { flow: None, opener: Opener::Nobody };
        assert_eq!(plan("corp", DESK, &silent).1, Opener::Nobody);
    }
}
