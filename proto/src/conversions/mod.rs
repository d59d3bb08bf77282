//! Between generated messages and the model, one file per area.
//!
//! What comes in is parsed once (`TryFrom`, failing with a [`ConversionError`] that names the field as the API calls it);
//! what goes out is written (`From`, which cannot fail).

mod daemon;
mod doctor;
mod events;
mod fault;
mod guards;
mod profiles;
mod prompts;
mod settings;
mod sign_in;
mod sign_in_state;
mod spec;
mod sso_config;
mod state;
mod statistics;
mod targets;
mod tunnels;

#[cfg(test)]
mod sign_in_strategies;
#[cfg(test)]
mod strategies;

pub(crate) use events::parse_events;
pub use profiles::parse_profile;
pub use sign_in::parse_choice;
pub(crate) use sign_in::parse_sign_ins;

use std::time::Duration;

use stormtunnel_model::{Epoch, Etag, Fault, FaultKind, InvalidName, Revision, Timestamp};
use thiserror::Error;

use crate::v1;

/// A message that says something the model cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConversionError {
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// Path of the field, such as `spec.remote`.
        field: String,
    },
    /// A field breaks its rule.
    #[error("{field} \"{value}\" is not valid: {rule}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What was sent.
        value: String,
        /// What is accepted.
        rule: String,
    },
    /// An update mask names something that cannot be changed, or nothing.
    #[error("update_mask \"{path}\" names no field that can be changed; those are {}", spec::MASK_PATHS.join(", "))]
    UnknownMaskPath {
        /// The path.
        path: String,
    },
}

impl ConversionError {
    /// The field at fault, as the API calls it.
    pub fn field(&self) -> &str {
        match self {
            Self::Missing { field } | Self::Invalid { field, .. } => field,
            Self::UnknownMaskPath { .. } => "update_mask",
        }
    }

    fn missing(field: &str) -> Self {
        Self::Missing { field: field.to_owned() }
    }

    fn invalid(field: &str, value: &(impl ToString + ?Sized), rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), value: value.to_string(), rule: rule.into() }
    }

    /// The same error, seen from the message that holds the failing one as `outer`.
    fn inside(self, outer: &str) -> Self {
        match self {
            Self::Missing { field } => Self::Missing { field: format!("{outer}.{field}") },
            Self::Invalid { field, value, rule } => {
                Self::Invalid { field: format!("{outer}.{field}"), value, rule }
            }
            unknown @ Self::UnknownMaskPath { .. } => unknown,
        }
    }

    /// What is wrong, without the field, which the fault names itself.
    fn detail(&self) -> String {
        match self {
            Self::Missing { .. } => "it is missing".to_owned(),
            Self::Invalid { value, rule, .. } => format!("\"{value}\": {rule}"),
            Self::UnknownMaskPath { .. } => self.to_string(),
        }
    }
}

impl From<InvalidName> for ConversionError {
    fn from(error: InvalidName) -> Self {
        Self::invalid(error.field, &error.value, error.rule)
    }
}

impl From<ConversionError> for Fault {
    fn from(error: ConversionError) -> Self {
        Self::new(FaultKind::InvalidArgument { field: error.field().to_owned() }, error.detail())
    }
}

/// The value of a field that must be there.
fn required<T>(field: &str, value: Option<T>) -> Result<T, ConversionError> {
    value.ok_or_else(|| ConversionError::missing(field))
}

/// A required message, parsed; errors name it as `field`.
fn parsed<M, T: TryFrom<M, Error = ConversionError>>(
    field: &str,
    message: Option<M>,
) -> Result<T, ConversionError> {
    T::try_from(required(field, message)?).map_err(|error| error.inside(field))
}

/// An enum value that this version knows and that says something.
fn enum_value<E: TryFrom<i32> + Default + PartialEq>(field: &str, number: i32) -> Result<E, ConversionError> {
    let known = E::try_from(number).ok().filter(|value| *value != E::default());
    known.ok_or_else(|| {
        ConversionError::invalid(field, &number, "it is none of the values that the API lists")
    })
}

/// An enum value of an answer; one that only a newer daemon knows is the unspecified one.
fn known<E: TryFrom<i32> + Default>(number: i32) -> E {
    E::try_from(number).unwrap_or_default()
}

/// Empty text stands for nothing where the API says so.
fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let millis = time.as_millis();
    let nanos = i32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
    prost_types::Timestamp { seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX), nanos }
}

/// Times are kept in milliseconds; what is finer is cut off.
fn parse_timestamp(field: &str, time: Option<prost_types::Timestamp>) -> Result<Timestamp, ConversionError> {
    let time = required(field, time)?;
    let seconds = u64::try_from(time.seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
    let nanos = u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let millis = seconds.zip(nanos).and_then(|(seconds, nanos)| seconds.checked_add(nanos / 1_000_000));
    let invalid = || {
        ConversionError::invalid(
            field,
            &format!("{}s {}ns", time.seconds, time.nanos),
            "not a time since 1970",
        )
    };
    millis.map(Timestamp::from_millis).ok_or_else(invalid)
}

fn span(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}

/// One that is absent is zero.
fn parse_span(field: &str, span: Option<prost_types::Duration>) -> Result<Duration, ConversionError> {
    let negative = |error| ConversionError::invalid(field, &error, "a span of time is not negative");
    Duration::try_from(span.unwrap_or_default()).map_err(negative)
}

pub(crate) fn etag(etag: Etag) -> String {
    etag.0.to_string()
}

pub(crate) fn parse_etag(text: &str) -> Result<Etag, ConversionError> {
    let rule = "send it back as it was received";
    text.parse().map(Etag).map_err(|_| ConversionError::invalid("etag", text, rule))
}

impl From<Revision> for v1::Revision {
    fn from(revision: Revision) -> Self {
        Self { epoch: revision.epoch.0, counter: revision.counter }
    }
}

impl From<v1::Revision> for Revision {
    fn from(revision: v1::Revision) -> Self {
        Self { epoch: Epoch(revision.epoch), counter: revision.counter }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_read_back_as_written(millis: u64) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(parse_timestamp("at", Some(timestamp(time))), Ok(time));
        }

        #[test]
        fn etags_and_revisions_read_back_as_written(number: u64, counter: u64) {
            prop_assert_eq!(parse_etag(&etag(Etag(number))), Ok(Etag(number)));
            let revision = Revision { epoch: Epoch(number), counter };
            prop_assert_eq!(Revision::from(v1::Revision::from(revision)), revision);
        }

        #[test]
        fn no_time_makes_the_parser_panic(seconds: i64, nanos: i32) {
            let valid = parse_timestamp("at", Some(prost_types::Timestamp { seconds, nanos })).is_ok();
            prop_assert!(!valid || (seconds >= 0 && (0..1_000_000_000).contains(&nanos)));
        }
    }

    #[test]
    fn an_error_becomes_a_fault_that_names_the_field_once() {
        let error = ConversionError::invalid("port", &0, "1 to 65535").inside("spec.remote");
        assert_eq!(error.to_string(), "spec.remote.port \"0\" is not valid: 1 to 65535");
        assert_eq!(Fault::from(error).to_string(), "spec.remote.port is not valid: \"0\": 1 to 65535");
    }
}
