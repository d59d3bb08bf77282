//! What programs get of targets with `-o json` and `-o yaml`. Field names are those of the API; stable, only added to.

use serde::Serialize;
use stormtunnel_model::{Candidate, Region};

use super::times::rfc3339;

/// A node that a tunnel could go through.
#[derive(Debug, Serialize)]
pub struct TargetView {
    node: String,
    name: Option<String>,
    address: Option<String>,
    agent: &'static str,
    platform: Option<String>,
    launched_at: Option<String>,
    region: String,
}

impl TargetView {
    /// Of a candidate, found in that region.
    pub fn of(candidate: &Candidate, region: &Region) -> Self {
        Self {
            node: candidate.node.to_string(),
            name: candidate.name.clone(),
            address: candidate.address.map(|address| address.to_string()),
            agent: candidate.agent.name(),
            platform: candidate.platform.clone(),
            launched_at: candidate.launched_at.map(rfc3339),
            region: region.to_string(),
        }
    }
}
