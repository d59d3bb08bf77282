//! Calls about prompts.

use stormtunnel_model::PromptId;
use tonic::Streaming;
use tonic::transport::Channel;

use super::{CallError, Client, answer, next_known};
use crate::calls::PromptEvent;
use crate::v1;
use crate::v1::prompt_service_client::PromptServiceClient;

impl Client {
    /// The prompts that are open, then each one as it opens and closes. Only for who has a person to ask: the daemon counts on it.
    ///
    /// # Errors
    /// [`CallError`]; `Unimplemented` of a daemon that asks nothing.
    pub async fn watch_prompts(&self) -> Result<PromptWatch, CallError> {
        let request = self.endless(v1::WatchPromptsRequest {}).await?;
        Ok(PromptWatch { messages: answer(self.prompts().watch_prompts(request)).await? })
    }

    /// Answers a prompt with what the person typed.
    ///
    /// # Errors
    /// [`CallError`]: somebody else was faster, nobody waits for it any more, or it cannot be right.
    pub async fn answer_prompt(&self, id: PromptId, typed: &str) -> Result<(), CallError> {
        let request = self.request(v1::AnswerPromptRequest { id: id.0, answer: typed.to_owned() }).await?;
        answer(self.prompts().answer_prompt(request)).await.map(|v1::AnswerPromptResponse {}| ())
    }

    fn prompts(&self) -> PromptServiceClient<Channel> {
        PromptServiceClient::new(self.channel.clone())
    }
}

/// The prompts that are open, then each change.
#[derive(Debug)]
pub struct PromptWatch {
    messages: Streaming<v1::WatchPromptsResponse>,
}

impl PromptWatch {
    /// The next message; nothing when the daemon ended the watch. Cancel-safe.
    ///
    /// # Errors
    /// [`CallError`] when the connection was lost or a message cannot be read.
    pub async fn next(&mut self) -> Result<Option<PromptEvent>, CallError> {
        let message = next_known(&mut self.messages, |message| message.event.is_some()).await?;
        Ok(message.map(PromptEvent::try_from).transpose()?)
    }
}
