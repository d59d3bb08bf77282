//! Prompts.

use std::fmt;

use stormtunnel_model::{Profile, Prompt, PromptId, PromptKind};

use super::{ConversionError, parse_timestamp, parsed, timestamp};
use crate::calls::PromptEvent;
use crate::v1;
use crate::v1::watch_prompts_response::{Event, Snapshot};

/// A secret is in it, and nothing of that is shown.
impl fmt::Debug for v1::AnswerPromptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerPromptRequest").field("id", &self.id).finish_non_exhaustive()
    }
}

impl From<Prompt> for v1::Prompt {
    fn from(prompt: Prompt) -> Self {
        let Prompt { id, kind, deadline } = prompt;
        let headline = kind.to_string();
        let kind = match kind {
            PromptKind::MfaCode { profile, serial, refused } => {
                let code = v1::prompt::MfaCode { profile: profile.into(), serial, refused };
                Some(v1::prompt::Kind::MfaCode(code))
            }
            PromptKind::Unknown { .. } => None,
        };
        Self { id: id.0, headline, deadline: Some(timestamp(deadline)), kind }
    }
}

impl TryFrom<v1::Prompt> for Prompt {
    type Error = ConversionError;

    fn try_from(prompt: v1::Prompt) -> Result<Self, Self::Error> {
        let v1::Prompt { id, headline, deadline, kind } = prompt;
        let kind = match kind {
            Some(v1::prompt::Kind::MfaCode(v1::prompt::MfaCode { profile, serial, refused })) => {
                PromptKind::MfaCode { profile: profile.parse::<Profile>()?, serial, refused }
            }
            None => PromptKind::Unknown { headline },
        };
        Ok(Self { id: PromptId(id), kind, deadline: parse_timestamp("deadline", deadline)? })
    }
}

impl From<PromptEvent> for v1::WatchPromptsResponse {
    fn from(event: PromptEvent) -> Self {
        let event = match event {
            PromptEvent::Snapshot(prompts) => {
                Event::Snapshot(Snapshot { prompts: prompts.into_iter().map(Into::into).collect() })
            }
            PromptEvent::Opened(prompt) => Event::Opened(prompt.into()),
            PromptEvent::Closed(id) => Event::Closed(id.0),
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<v1::WatchPromptsResponse> for PromptEvent {
    type Error = ConversionError;

    fn try_from(response: v1::WatchPromptsResponse) -> Result<Self, Self::Error> {
        Ok(match response.event.ok_or_else(|| ConversionError::missing("event"))? {
            Event::Snapshot(Snapshot { prompts }) => {
                let prompts = prompts.into_iter().map(|prompt| parsed("snapshot.prompts", Some(prompt)));
                Self::Snapshot(prompts.collect::<Result<_, _>>()?)
            }
            Event::Opened(prompt) => Self::Opened(parsed("opened", Some(prompt))?),
            Event::Closed(id) => Self::Closed(PromptId(id)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    fn prompt() -> impl Strategy<Value = Prompt> {
        let code = ("[a-z]{1,9}", ".{0,30}", any::<bool>()).prop_map(|(profile, serial, refused)| {
            PromptKind::MfaCode { profile: profile.parse().unwrap(), serial, refused }
        });
        let unknown = ".{0,30}".prop_map(|headline| PromptKind::Unknown { headline });
        let kind = prop_oneof![code, unknown];
        (any::<u64>(), kind, strategies::time()).prop_map(|(id, kind, deadline)| Prompt {
            id: PromptId(id),
            kind,
            deadline,
        })
    }

    fn event() -> impl Strategy<Value = PromptEvent> {
        prop_oneof![
            prop::collection::vec(prompt(), 0..3).prop_map(PromptEvent::Snapshot),
            prompt().prop_map(PromptEvent::Opened),
            any::<u64>().prop_map(|id| PromptEvent::Closed(PromptId(id))),
        ]
    }

    proptest! {
        #[test]
        fn events_read_back_as_written(event in event()) {
            prop_assert_eq!(PromptEvent::try_from(v1::WatchPromptsResponse::from(event.clone())), Ok(event));
        }
    }

    #[test]
    fn what_is_wrong_with_a_prompt_is_named() {
        let code = v1::prompt::MfaCode { profile: String::new(), ..Default::default() };
        let opened = |kind, deadline| {
            let prompt = v1::Prompt { id: 1, headline: String::new(), deadline, kind };
            let response = v1::WatchPromptsResponse { event: Some(Event::Opened(prompt)) };
            PromptEvent::try_from(response).unwrap_err().field().to_owned()
        };
        assert_eq!(opened(Some(v1::prompt::Kind::MfaCode(code)), Some(Default::default())), "opened.profile");
        assert_eq!(opened(None, None), "opened.deadline");
        assert_eq!(
            PromptEvent::try_from(v1::WatchPromptsResponse { event: None }).unwrap_err().field(),
            "event"
        );
    }

    #[test]
    fn an_answer_is_not_shown() {
        let request = v1::AnswerPromptRequest { id: 7, answer: "123456".to_owned() };
        assert_eq!(format!("{request:?}"), "AnswerPromptRequest { id: 7, .. }");
    }
}
