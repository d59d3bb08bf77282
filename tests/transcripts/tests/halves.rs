//! Each half of a recording against our program in the place of the other half.

use std::time::Instant;

use stormtunnel_transcripts::facts::Facts;
use stormtunnel_transcripts::{
    Deviation, Deviations, REPLAYED, Recording, replay_agent, replay_client, unintended,
};

type Theirs = fn(&Recording) -> Facts;
type Ours = fn(&Recording, Instant) -> Facts;

fn compare(theirs: Theirs, ours: Ours, intended: &[Deviation]) {
    #[expect(clippy::disallowed_methods, reason = "a virtual clock has to start somewhere")]
    let start = Instant::now();
    let mut report = String::new();
    for name in REPLAYED {
        let recording = Recording::load(name);
        for complaint in unintended(name, &theirs(&recording), &ours(&recording, start), intended) {
            report.push_str(&format!("{name}: {complaint}\n"));
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn our_client_does_as_awss_client_did() {
    compare(replay_client::theirs, replay_client::ours, &Deviations::load().client);
}

#[test]
fn our_agent_does_as_awss_agent_did() {
    compare(replay_agent::theirs, replay_agent::ours, &Deviations::load().agent);
}

/// A table that nobody explains would be a way to hide mistakes.
#[test]
fn every_deviation_has_a_reason_and_a_recording() {
    let Deviations { client, agent } = Deviations::load();
    for deviation in client.iter().chain(&agent) {
        assert!(deviation.reason.len() > 20, "{deviation:?}");
        for name in &deviation.recordings {
            assert!(name == "*" || REPLAYED.contains(&name.as_str()), "{name}");
        }
    }
}
