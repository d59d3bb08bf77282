//! The messages of the doctor service.

use stormtunnel_model::{Finding, Outcome};

use super::known;
use crate::v1;

impl From<Finding> for v1::RunChecksResponse {
    fn from(finding: Finding) -> Self {
        let Finding { id, title, outcome, detail, remedy, fixable, fixed } = finding;
        Self { id, title, outcome: v1::CheckOutcome::from(outcome).into(), detail, remedy, fixable, fixed }
    }
}

impl From<v1::RunChecksResponse> for Finding {
    fn from(response: v1::RunChecksResponse) -> Self {
        let v1::RunChecksResponse { id, title, outcome, detail, remedy, fixable, fixed } = response;
        let outcome = match known(outcome) {
            v1::CheckOutcome::Pass => Outcome::Pass,
            // What a newer daemon has to say is worth a look.
            v1::CheckOutcome::Warn | v1::CheckOutcome::Unspecified => Outcome::Warn,
            v1::CheckOutcome::Fail => Outcome::Fail,
            v1::CheckOutcome::Skipped => Outcome::Skipped,
        };
        Self { id, title, outcome, detail, remedy, fixable, fixed }
    }
}

impl From<Outcome> for v1::CheckOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Pass,
            Outcome::Warn => Self::Warn,
            Outcome::Fail => Self::Fail,
            Outcome::Skipped => Self::Skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_back_as_written() {
        for outcome in Outcome::ALL {
            let finding = Finding {
                fixable: true,
                fixed: "closed /f".to_owned(),
                ..Finding::new("files.aws", "AWS files", outcome, "open").with_remedy("close it")
            };
            assert_eq!(Finding::from(v1::RunChecksResponse::from(finding.clone())), finding);
        }
    }

    #[test]
    fn a_finding_with_an_outcome_of_a_newer_daemon_is_shown() {
        let response = v1::RunChecksResponse { outcome: 9, ..Default::default() };
        assert_eq!(Finding::from(response).outcome, Outcome::Warn);
    }
}
