//! Targets: the nodes that can be reached.

use stormtunnel_model::{AgentStatus, Candidate, Profile, Region, Target};

use super::{ConversionError, known, non_empty, parse_timestamp, parsed, timestamp};
use crate::calls::{ListTargets, TargetList};
use crate::v1;

impl From<ListTargets> for v1::ListTargetsRequest {
    fn from(list: ListTargets) -> Self {
        let ListTargets { profile, region, target } = list;
        Self {
            profile: profile.map(Into::into),
            region: region.map(Into::into),
            target: target.map(Into::into).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ListTargetsRequest> for ListTargets {
    type Error = ConversionError;

    fn try_from(request: v1::ListTargetsRequest) -> Result<Self, Self::Error> {
        let v1::ListTargetsRequest { profile, region, target } = request;
        Ok(Self {
            profile: profile.map(|text| text.parse::<Profile>()).transpose()?,
            region: region.map(|text| text.parse::<Region>()).transpose()?,
            target: non_empty(target).map(|text| text.parse::<Target>()).transpose()?,
        })
    }
}

impl From<TargetList> for v1::ListTargetsResponse {
    fn from(list: TargetList) -> Self {
        let TargetList { region, candidates, notes } = list;
        let candidates = candidates.into_iter().map(Into::into).collect();
        Self { region: region.into(), candidates, notes }
    }
}

impl TryFrom<v1::ListTargetsResponse> for TargetList {
    type Error = ConversionError;

    fn try_from(response: v1::ListTargetsResponse) -> Result<Self, Self::Error> {
        let v1::ListTargetsResponse { region, candidates, notes } = response;
        let candidates = candidates.into_iter().map(|candidate| parsed("candidates", Some(candidate)));
        Ok(Self { region: region.parse()?, candidates: candidates.collect::<Result<_, _>>()?, notes })
    }
}

impl From<Candidate> for v1::Candidate {
    fn from(candidate: Candidate) -> Self {
        let Candidate { node, name, address, agent, platform, launched_at } = candidate;
        Self {
            node: node.into(),
            name,
            address: address.map(|address| address.to_string()),
            agent: v1::AgentStatus::from(agent).into(),
            platform,
            launched_at: launched_at.map(timestamp),
        }
    }
}

impl TryFrom<v1::Candidate> for Candidate {
    type Error = ConversionError;

    fn try_from(candidate: v1::Candidate) -> Result<Self, Self::Error> {
        let v1::Candidate { node, name, address, agent, platform, launched_at } = candidate;
        let parse_address = |text: String| {
            text.parse().map_err(|_| ConversionError::invalid("address", &text, "it is no IP address"))
        };
        Ok(Self {
            node: node.parse()?,
            name,
            address: address.map(parse_address).transpose()?,
            agent: parse_agent(agent),
            platform,
            launched_at: launched_at.map(|time| parse_timestamp("launched_at", Some(time))).transpose()?,
        })
    }
}

impl From<AgentStatus> for v1::AgentStatus {
    fn from(agent: AgentStatus) -> Self {
        match agent {
            AgentStatus::Online => Self::Online,
            AgentStatus::Unknown => Self::Unknown,
            AgentStatus::Lost => Self::Lost,
            AgentStatus::Unregistered => Self::Unregistered,
        }
    }
}

fn parse_agent(number: i32) -> AgentStatus {
    match known(number) {
        v1::AgentStatus::Online => AgentStatus::Online,
        v1::AgentStatus::Unknown => AgentStatus::Unknown,
        v1::AgentStatus::Lost => AgentStatus::Lost,
        v1::AgentStatus::Unregistered => AgentStatus::Unregistered,
        v1::AgentStatus::Unspecified => AgentStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
    use super::*;

    proptest! {
        #[test]
        fn requests_read_back_as_written(list in strategies::list_targets()) {
            prop_assert_eq!(ListTargets::try_from(v1::ListTargetsRequest::from(list.clone())), Ok(list));
        }

        #[test]
        fn answers_read_back_as_written(list in strategies::target_list()) {
            prop_assert_eq!(TargetList::try_from(v1::ListTargetsResponse::from(list.clone())), Ok(list));
        }
    }

    #[test]
    fn what_is_wrong_with_a_candidate_is_named() {
        let candidate = v1::Candidate { node: "name:web".to_owned(), agent: 1, ..Default::default() };
        let response = |candidate| v1::ListTargetsResponse {
            region: "eu-west-1".to_owned(),
            candidates: vec![candidate],
            notes: Vec::new(),
        };
        let error = |candidate| TargetList::try_from(response(candidate)).unwrap_err();
        assert_eq!(error(candidate.clone()).field(), "candidates.node");
        let node = "i-0abcdef1234567890".to_owned();
        let newer = TargetList::try_from(response(v1::Candidate { node, agent: 9, ..candidate })).unwrap();
        assert_eq!(newer.candidates[0].agent, AgentStatus::Unknown);
    }
}
