//! The messages of the doctor service.

use stormtunnel_model::{Finding, Outcome};

use super::{ConversionError, enum_value};
use crate::v1;

impl From<Finding> for v1::RunChecksResponse {
    fn from(finding: Finding) -> Self {
        let Finding { id, title, outcome, detail, remedy, fixable, fixed } = finding;
        Self { id, title, outcome: v1::CheckOutcome::from(outcome).into(), detail, remedy, fixable, fixed }
    }
}

impl TryFrom<v1::RunChecksResponse> for Finding {
    type Error = ConversionError;

    fn try_from(response: v1::RunChecksResponse) -> Result<Self, Self::Error> {
        let v1::RunChecksResponse { id, title, outcome, detail, remedy, fixable, fixed } = response;
        let outcome = match enum_value("outcome", outcome)? {
            v1::CheckOutcome::Pass => Outcome::Pass,
            v1::CheckOutcome::Warn => Outcome::Warn,
            v1::CheckOutcome::Fail => Outcome::Fail,
            v1::CheckOutcome::Skipped => Outcome::Skipped,
            v1::CheckOutcome::Unspecified => return Err(ConversionError::missing("outcome")),
        };
        Ok(Self { id, title, outcome, detail, remedy, fixable, fixed })
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
            assert_eq!(Finding::try_from(v1::RunChecksResponse::from(finding.clone())), Ok(finding));
        }
    }

    #[test]
    fn a_finding_without_an_outcome_is_none() {
        let error = Finding::try_from(v1::RunChecksResponse::default()).unwrap_err();
        assert_eq!(error.field(), "outcome");
    }
}
