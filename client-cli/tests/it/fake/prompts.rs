//! Prompts: what the daemon was told to ask.

use std::pin::Pin;

use stormtunnel_model::{Fault, FaultKind, Intent, Prompt, PromptId};
use stormtunnel_proto::calls::PromptEvent;
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::prompt_service_server::PromptService;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{Fake, connecting};

/// The answer that the daemon takes.
pub(crate) const CODE: &str = "123456";

#[tonic::async_trait]
impl PromptService for Fake {
    type WatchPromptsStream = Pin<Box<dyn Stream<Item = Result<v1::WatchPromptsResponse, Status>> + Send>>;

    async fn watch_prompts(
        &self,
        _: Request<v1::WatchPromptsRequest>,
    ) -> Result<Response<Self::WatchPromptsStream>, Status> {
        self.heard("watch prompts".to_owned())?;
        let first = tokio_stream::once(PromptEvent::Snapshot(Vec::new()));
        let events = BroadcastStream::new(self.questions.subscribe()).map(Result::unwrap);
        Ok(Response::new(Box::pin(first.chain(events).map(|event| Ok(event.into())))))
    }

    /// With the right code, each tunnel that somebody started goes on.
    async fn answer_prompt(
        &self,
        request: Request<v1::AnswerPromptRequest>,
    ) -> Result<Response<v1::AnswerPromptResponse>, Status> {
        let v1::AnswerPromptRequest { id, answer } = request.into_inner();
        self.heard(format!("answer {id} {answer}"))?;
        if answer != CODE {
            let kind = FaultKind::InvalidArgument { field: "answer".to_owned() };
            return Err(from_fault(Fault::new(kind, "a code has six digits")));
        }
        self.withdraw(PromptId(id));
        let names: Vec<String> = self.lock().tunnels.keys().cloned().collect();
        names.iter().for_each(|name| drop(self.set_one_going(name, Intent::Run, connecting())));
        Ok(Response::new(v1::AnswerPromptResponse {}))
    }
}

impl Fake {
    /// Asks everybody who watches.
    pub(crate) fn ask(&self, prompt: Prompt) {
        drop(self.questions.send(PromptEvent::Opened(prompt)));
    }

    /// Nobody has to know any more.
    pub(crate) fn withdraw(&self, id: PromptId) {
        drop(self.questions.send(PromptEvent::Closed(id)));
    }

    /// Waits until that was asked of the daemon.
    pub(crate) async fn hears(&self, what: &str) {
        let heard = async {
            while !self.asked().iter().any(|asked| asked == what) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), heard).await.expect("it is asked");
    }
}
