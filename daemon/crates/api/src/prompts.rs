//! The prompt service.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use stormtunnel_engine::prompts::{PromptChange, Prompts};
use stormtunnel_model::PromptId;
use stormtunnel_proto::calls::PromptEvent;
use stormtunnel_proto::status::from_fault;
use stormtunnel_proto::v1;
use stormtunnel_proto::v1::prompt_service_server::PromptService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct PromptApi {
    prompts: Prompts,
    stopping: CancellationToken,
}

impl PromptApi {
    pub(crate) fn new(prompts: Prompts, stopping: CancellationToken) -> Self {
        Self { prompts, stopping }
    }
}

#[tonic::async_trait]
impl PromptService for PromptApi {
    type WatchPromptsStream = Pin<Box<dyn Stream<Item = Result<v1::WatchPromptsResponse, Status>> + Send>>;

    async fn watch_prompts(&self, _: Request<v1::WatchPromptsRequest>) -> Answer<Self::WatchPromptsStream> {
        let changes = self.prompts.watch().map(|change| Ok(told(change).into()));
        Ok(Response::new(Box::pin(changes.take_until(self.stopping.clone().cancelled_owned()))))
    }

    async fn answer_prompt(
        &self,
        request: Request<v1::AnswerPromptRequest>,
    ) -> Answer<v1::AnswerPromptResponse> {
        let v1::AnswerPromptRequest { id, answer } = request.into_inner();
        self.prompts.answer(PromptId(id), &answer).map_err(from_fault)?;
        Ok(Response::new(v1::AnswerPromptResponse {}))
    }
}

fn told(change: PromptChange) -> PromptEvent {
    match change {
        PromptChange::Snapshot(prompts) => PromptEvent::Snapshot(prompts),
        PromptChange::Opened(prompt) => PromptEvent::Opened(prompt),
        PromptChange::Closed(id) => PromptEvent::Closed(id),
    }
}
