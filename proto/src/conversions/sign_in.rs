//! The messages of the sign-in service.

use stormtunnel_model::{
    LoginFlow, LoginSurroundings, LoginWishes, Opener, Profile, SignIn, SignInChoice, SignInName,
};

use super::{ConversionError, enum_value, parsed, required};
use crate::calls::{Login, LoginUpdate, Logout, SignInWatchEvent, SignInWatchUpdate};
use crate::v1;
use crate::v1::login_request::{NoBrowser, Opener as OpenerKind, Surroundings};
use crate::v1::login_response::{Begun, News};
use crate::v1::sign_in_choice::{Address, Choice};
use crate::v1::watch_sign_ins_response::{Event, Resumed, Snapshot};

impl From<SignInChoice> for v1::SignInChoice {
    fn from(choice: SignInChoice) -> Self {
        let choice = match choice {
            SignInChoice::Only => None,
            SignInChoice::Named(name) => Some(Choice::Name(name.into())),
            SignInChoice::OfProfile(profile) => Some(Choice::Profile(profile.into())),
            SignInChoice::At { start_url, region } => {
                Some(Choice::Address(Address { start_url: start_url.into(), region: region.into() }))
            }
        };
        Self { choice }
    }
}

impl TryFrom<v1::SignInChoice> for SignInChoice {
    type Error = ConversionError;

    fn try_from(choice: v1::SignInChoice) -> Result<Self, Self::Error> {
        Ok(match choice.choice {
            None => Self::Only,
            Some(Choice::Name(name)) => Self::Named(name.parse::<SignInName>()?),
            Some(Choice::Profile(profile)) => Self::OfProfile(profile.parse::<Profile>()?),
            Some(Choice::Address(Address { start_url, region })) => {
                if !start_url.starts_with("https://") && !start_url.starts_with("http://") {
                    let rule = "it begins with https://";
                    return Err(ConversionError::invalid("address.start_url", &start_url, rule));
                }
                Self::At { start_url: start_url.parse::<SignInName>()?, region: region.parse()? }
            }
        })
    }
}

/// The sign-in that a request means.
///
/// # Errors
/// [`ConversionError`].
pub fn parse_choice(choice: Option<v1::SignInChoice>) -> Result<SignInChoice, ConversionError> {
    parsed("sign_in", Some(choice.unwrap_or_default()))
}

impl From<LoginFlow> for v1::LoginFlow {
    fn from(flow: LoginFlow) -> Self {
        match flow {
            LoginFlow::AuthorizationCode => Self::AuthorizationCode,
            LoginFlow::DeviceCode => Self::DeviceCode,
        }
    }
}

fn parse_flow(number: i32) -> Result<LoginFlow, ConversionError> {
    match enum_value("flow", number)? {
        v1::LoginFlow::AuthorizationCode => Ok(LoginFlow::AuthorizationCode),
        v1::LoginFlow::DeviceCode => Ok(LoginFlow::DeviceCode),
        v1::LoginFlow::Unspecified => Err(ConversionError::missing("flow")),
    }
}

impl From<Login> for v1::LoginRequest {
    fn from(login: Login) -> Self {
        let Login { sign_in, wishes: LoginWishes { flow, opener }, surroundings, if_needed } = login;
        let LoginSurroundings { remote, container, wsl, display } = surroundings;
        Self {
            sign_in: Some(sign_in.into()),
            flow: flow.map_or(v1::LoginFlow::Unspecified, Into::into).into(),
            opener: match opener {
                Opener::Default => None,
                Opener::Command(command) => Some(OpenerKind::BrowserCommand(command)),
                Opener::Nobody => Some(OpenerKind::NoBrowser(NoBrowser {})),
            },
            surroundings: Some(Surroundings { remote, container, wsl, display }),
            if_needed,
        }
    }
}

impl TryFrom<v1::LoginRequest> for Login {
    type Error = ConversionError;

    fn try_from(request: v1::LoginRequest) -> Result<Self, Self::Error> {
        let v1::LoginRequest { sign_in, flow, opener, surroundings, if_needed } = request;
        let Surroundings { remote, container, wsl, display } = surroundings.unwrap_or_default();
        let chosen = flow != i32::from(v1::LoginFlow::Unspecified);
        let opener = match opener {
            None => Opener::Default,
            Some(OpenerKind::BrowserCommand(command)) if command.trim().is_empty() => {
                return Err(ConversionError::invalid("browser_command", &command, "it is empty"));
            }
            Some(OpenerKind::BrowserCommand(command)) => Opener::Command(command),
            Some(OpenerKind::NoBrowser(NoBrowser {})) => Opener::Nobody,
        };
        Ok(Self {
            sign_in: parse_choice(sign_in)?,
            wishes: LoginWishes { flow: chosen.then(|| parse_flow(flow)).transpose()?, opener },
            surroundings: LoginSurroundings { remote, container, wsl, display },
            if_needed,
        })
    }
}

impl From<LoginUpdate> for v1::LoginResponse {
    fn from(update: LoginUpdate) -> Self {
        let news = match update {
            LoginUpdate::Begun { sign_in, flow, reason } => {
                let flow = v1::LoginFlow::from(flow).into();
                News::Begun(Begun { sign_in: sign_in.into(), flow, reason })
            }
            LoginUpdate::Progress(progress) => News::Progress(progress.into()),
            LoginUpdate::SignedIn(sign_in) => News::SignedIn((*sign_in).into()),
        };
        Self { news: Some(news) }
    }
}

impl TryFrom<v1::LoginResponse> for LoginUpdate {
    type Error = ConversionError;

    fn try_from(response: v1::LoginResponse) -> Result<Self, Self::Error> {
        Ok(match required("news", response.news)? {
            News::Begun(Begun { sign_in, flow, reason }) => {
                Self::Begun { sign_in: sign_in.parse()?, flow: parse_flow(flow)?, reason }
            }
            News::Progress(progress) => Self::Progress(parsed("progress", Some(progress))?),
            News::SignedIn(sign_in) => Self::SignedIn(Box::new(parsed("signed_in", Some(sign_in))?)),
        })
    }
}

impl From<Logout> for v1::LogoutRequest {
    fn from(logout: Logout) -> Self {
        match logout {
            Logout::All => Self { sign_in: None, all: true },
            Logout::One(choice) => Self { sign_in: Some(choice.into()), all: false },
        }
    }
}

impl TryFrom<v1::LogoutRequest> for Logout {
    type Error = ConversionError;

    fn try_from(request: v1::LogoutRequest) -> Result<Self, Self::Error> {
        let v1::LogoutRequest { sign_in, all } = request;
        if all { Ok(Self::All) } else { parse_choice(sign_in).map(Self::One) }
    }
}

impl From<SignInWatchUpdate> for v1::WatchSignInsResponse {
    fn from(update: SignInWatchUpdate) -> Self {
        let event = match update.event {
            SignInWatchEvent::Snapshot(sign_ins) => {
                Event::Snapshot(Snapshot { sign_ins: sign_ins.into_iter().map(Into::into).collect() })
            }
            SignInWatchEvent::Changed(sign_in) => Event::Changed((*sign_in).into()),
            SignInWatchEvent::Removed(name) => Event::Removed(name.into()),
            SignInWatchEvent::Resumed => Event::Resumed(Resumed {}),
        };
        Self { revision: Some(update.revision.into()), event: Some(event) }
    }
}

impl TryFrom<v1::WatchSignInsResponse> for SignInWatchUpdate {
    type Error = ConversionError;

    fn try_from(response: v1::WatchSignInsResponse) -> Result<Self, Self::Error> {
        let event = match required("event", response.event)? {
            Event::Snapshot(Snapshot { sign_ins }) => SignInWatchEvent::Snapshot(parse_sign_ins(sign_ins)?),
            Event::Changed(sign_in) => SignInWatchEvent::Changed(Box::new(parsed("changed", Some(sign_in))?)),
            Event::Removed(name) => SignInWatchEvent::Removed(name.parse()?),
            Event::Resumed(Resumed {}) => SignInWatchEvent::Resumed,
        };
        Ok(Self { revision: required("revision", response.revision)?.into(), event })
    }
}

pub(crate) fn parse_sign_ins(sign_ins: Vec<v1::SignIn>) -> Result<Vec<SignIn>, ConversionError> {
    sign_ins.into_iter().map(|sign_in| parsed("sign_ins", Some(sign_in))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sign_in_strategies as strategies;
    use super::*;

    proptest! {
        #[test]
        fn requests_read_back_as_written(login in strategies::login(), choice in strategies::choice()) {
            prop_assert_eq!(Login::try_from(v1::LoginRequest::from(login.clone())), Ok(login));
            for logout in [Logout::All, Logout::One(choice)] {
                prop_assert_eq!(Logout::try_from(v1::LogoutRequest::from(logout.clone())), Ok(logout));
            }
        }

        #[test]
        fn answers_read_back_as_written(
            update in strategies::login_update(),
            watched in strategies::watch_update(),
        ) {
            prop_assert_eq!(LoginUpdate::try_from(v1::LoginResponse::from(update.clone())), Ok(update));
            let message = v1::WatchSignInsResponse::from(watched.clone());
            prop_assert_eq!(SignInWatchUpdate::try_from(message), Ok(watched));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_field() {
        let address = |start_url: &str| {
            let address = Address { start_url: start_url.to_owned(), region: "eu-west-1".to_owned() };
            v1::SignInChoice { choice: Some(Choice::Address(address)) }
        };
        assert_eq!(parse_choice(None), Ok(SignInChoice::Only));
        assert!(parse_choice(Some(address("https://x.awsapps.com/start"))).is_ok());
        let error = parse_choice(Some(address("corp"))).unwrap_err();
        assert_eq!(error.field(), "sign_in.address.start_url");
        let request = v1::LoginRequest { flow: 9, ..Default::default() };
        assert_eq!(Login::try_from(request).unwrap_err().field(), "flow");
        let opener = Some(OpenerKind::BrowserCommand(" ".to_owned()));
        let request = v1::LoginRequest { opener, ..Default::default() };
        assert_eq!(Login::try_from(request).unwrap_err().field(), "browser_command");
    }
}
