//! Calls about sign-ins.

use stormtunnel_model::{
    Account, AccountId, Revision, SignIn, SignInChoice, SignInName, SsoConfig, SsoConfigured,
};
use tonic::Streaming;
use tonic::transport::Channel;

use super::{CallError, Client, MAX_MESSAGE, answer, next_known};
use crate::calls::{Login, LoginUpdate, Logout, SignInWatchUpdate};
use crate::conversions::{ConversionError, parse_sign_ins};
use crate::v1;
use crate::v1::login_response::News;
use crate::v1::sign_in_service_client::SignInServiceClient;

impl Client {
    /// All sign-ins, ordered by name.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_sign_ins(&self) -> Result<Vec<SignIn>, CallError> {
        let request = self.request(v1::ListSignInsRequest {}).await?;
        Ok(parse_sign_ins(answer(self.sign_ins().list_sign_ins(request)).await?.sign_ins)?)
    }

    /// The sign-ins as they are, then each change.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn watch_sign_ins(&self, since: Option<Revision>) -> Result<SignInWatch, CallError> {
        let request = self.endless(v1::WatchSignInsRequest { since: since.map(Into::into) }).await?;
        Ok(SignInWatch { messages: answer(self.sign_ins().watch_sign_ins(request)).await? })
    }

    /// Has a person sign in. The login is given up when the answer is dropped and nobody else waits for it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn login(&self, login: Login) -> Result<RunningLogin, CallError> {
        let request = self.endless(v1::LoginRequest::from(login)).await?;
        Ok(RunningLogin { messages: answer(self.sign_ins().login(request)).await? })
    }

    /// Gives up the login that runs, for everybody who waits for it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn cancel_login(&self, sign_in: SignInChoice) -> Result<(), CallError> {
        let request = self.request(v1::CancelLoginRequest { sign_in: Some(sign_in.into()) }).await?;
        answer(self.sign_ins().cancel_login(request)).await.map(|v1::CancelLoginResponse {}| ())
    }

    /// Signs out; answers of what.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn logout(&self, logout: Logout) -> Result<Vec<SignInName>, CallError> {
        let request = self.request(v1::LogoutRequest::from(logout)).await?;
        let names = answer(self.sign_ins().logout(request)).await?.sign_ins;
        let parse = |name: String| Ok(name.parse().map_err(ConversionError::from)?);
        names.into_iter().map(parse).collect()
    }

    /// Renews a token now; answers with the sign-in afterwards.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn refresh(&self, sign_in: SignInChoice) -> Result<SignIn, CallError> {
        let request = self.request(v1::RefreshRequest { sign_in: Some(sign_in.into()) }).await?;
        let sign_in = answer(self.sign_ins().refresh(request)).await?.sign_in;
        let sign_in = sign_in.ok_or_else(|| ConversionError::Missing { field: "sign_in".to_owned() })?;
        Ok(sign_in.try_into()?)
    }

    /// The accounts in which the person has a role.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_accounts(&self, sign_in: SignInChoice) -> Result<Vec<Account>, CallError> {
        let request = self.request(v1::ListAccountsRequest { sign_in: Some(sign_in.into()) }).await?;
        let accounts = answer(self.sign_ins().list_accounts(request)).await?.accounts;
        Ok(accounts.into_iter().map(Into::into).collect())
    }

    /// The names of the person's roles in an account.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_roles(
        &self,
        sign_in: SignInChoice,
        account: &AccountId,
    ) -> Result<Vec<String>, CallError> {
        let account = account.to_string();
        let request = self.request(v1::ListRolesRequest { sign_in: Some(sign_in.into()), account }).await?;
        Ok(answer(self.sign_ins().list_roles(request)).await?.roles)
    }

    /// Writes a session and profiles into the config file of AWS.
    ///
    /// # Errors
    /// [`CallError`]; the file is as it was.
    pub async fn configure(&self, config: SsoConfig) -> Result<SsoConfigured, CallError> {
        let request = self.request(v1::ConfigureRequest::from(config)).await?;
        Ok(answer(self.sign_ins().configure(request)).await?.try_into()?)
    }

    fn sign_ins(&self) -> SignInServiceClient<Channel> {
        SignInServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// The sign-ins as they are, then each change.
#[derive(Debug)]
pub struct SignInWatch {
    messages: Streaming<v1::WatchSignInsResponse>,
}

impl SignInWatch {
    /// The next message; nothing when the daemon ended the watch.
    ///
    /// # Errors
    /// [`CallError`] when the connection was lost or a message cannot be read.
    pub async fn next(&mut self) -> Result<Option<SignInWatchUpdate>, CallError> {
        let message = next_known(&mut self.messages, |message| message.event.is_some()).await?;
        Ok(message.map(SignInWatchUpdate::try_from).transpose()?)
    }
}

/// A login that somebody waits for.
#[derive(Debug)]
pub struct RunningLogin {
    messages: Streaming<v1::LoginResponse>,
}

impl RunningLogin {
    /// What is told next; nothing after [`LoginUpdate::SignedIn`].
    ///
    /// # Errors
    /// [`CallError`]: how the login failed, or that the connection was lost.
    pub async fn next(&mut self) -> Result<Option<LoginUpdate>, CallError> {
        let is_known = |message: &v1::LoginResponse| match &message.news {
            Some(News::Progress(progress)) => progress.progress.is_some(),
            Some(News::Begun(begun)) => {
                v1::LoginFlow::try_from(begun.flow).is_ok_and(|flow| flow != v1::LoginFlow::Unspecified)
            }
            Some(News::SignedIn(_)) => true,
            None => false,
        };
        let message = next_known(&mut self.messages, is_known).await?;
        Ok(message.map(LoginUpdate::try_from).transpose()?)
    }
}
