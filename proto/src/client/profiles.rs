//! Calls about profiles.

use stormtunnel_model::{CheckedProfile, Profile, ProfileList, Revision};
use tonic::Streaming;
use tonic::transport::Channel;

use super::{CallError, Client, MAX_MESSAGE, answer, next_known};
use crate::calls::ProfileWatchUpdate;
use crate::v1;
use crate::v1::profile_service_client::ProfileServiceClient;

impl Client {
    /// All profiles, ordered by name, and what is wrong in their files.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_profiles(&self) -> Result<ProfileList, CallError> {
        let request = self.request(v1::ListProfilesRequest {}).await?;
        Ok(answer(self.profiles().list_profiles(request)).await?.try_into()?)
    }

    /// The profiles as they are, then each change.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn watch_profiles(&self, since: Option<Revision>) -> Result<ProfileWatch, CallError> {
        let request = self.endless(v1::WatchProfilesRequest { since: since.map(Into::into) }).await?;
        Ok(ProfileWatch { messages: answer(self.profiles().watch_profiles(request)).await? })
    }

    /// Has AWS asked about a profile; absent: the default one. That its credentials are of no use is an answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn check_profile(&self, profile: Option<Profile>) -> Result<CheckedProfile, CallError> {
        let request = self.request(v1::CheckProfileRequest { profile: profile.map(Into::into) }).await?;
        Ok(answer(self.profiles().check_profile(request)).await?.try_into()?)
    }

    fn profiles(&self) -> ProfileServiceClient<Channel> {
        ProfileServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// The profiles as they are, then each change.
#[derive(Debug)]
pub struct ProfileWatch {
    messages: Streaming<v1::WatchProfilesResponse>,
}

impl ProfileWatch {
    /// The next message; nothing when the daemon ended the watch.
    ///
    /// # Errors
    /// [`CallError`] when the connection was lost or a message cannot be read.
    pub async fn next(&mut self) -> Result<Option<ProfileWatchUpdate>, CallError> {
        let message = next_known(&mut self.messages, |message| message.event.is_some()).await?;
        Ok(message.map(ProfileWatchUpdate::try_from).transpose()?)
    }
}
