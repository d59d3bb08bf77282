//! Logging: into a file, to standard error or into the journal of systemd, with a filter that can change while the daemon runs.
//!
//! What a line is about stands in the spans around the tasks (`stormtunnel_engine::spans`).
//!
//! Third-party code is capped at INFO whatever the filter says. Below that level HTTP and WebSocket libraries write
//! requests and frames, and these hold tokens. `aws_config` is capped at WARN: at INFO it names access keys.

mod file;
mod filter;
mod journal;
#[cfg(test)]
mod span_tests;

use std::io;
use std::sync::Mutex;

use stormtunnel_engine::spans;
use stormtunnel_model::{Fault, FaultKind};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};

use crate::args::LogFormat;
pub use file::{LogFile, LogFileError};
pub use filter::{FILTER_KEY, parse_filter};
use journal::Journal;

/// Crates whose messages are written with our rules for secrets; all others are capped.
const OURS: &[&str] = &["stormtunnel", "stormtunneld", "ssm_session", "smux", "stctl"];

/// Third-party crates that say too much at INFO.
const TALKATIVE: &[&str] = &["aws_config"];

/// Logging that cannot begin.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The process logs already.
    #[error("logging was set up twice")]
    Twice(#[source] TryInitError),
}

/// Changes what is logged.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// The filter until the settings are read.
const FIRST_FILTER: &str = "info";

/// What writes lines, whatever they are filtered by.
type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets up logging for the whole process: into `file`, else into the journal where standard error leads there, else to standard
/// error. JSON never goes into the journal, which has fields of its own.
///
/// # Errors
/// [`LoggingError::Twice`].
pub fn start(format: LogFormat, file: Option<LogFile>) -> Result<LogControl, LoggingError> {
    let journal = || (format == LogFormat::Text).then(Journal::behind_stderr).flatten();
    let output = match file {
        Some(file) => lines(format, BoxMakeWriter::new(Mutex::new(file)), false),
        None => match journal() {
            Some(journal) => Box::new(journal),
            None => lines(format, BoxMakeWriter::new(io::stderr), io::IsTerminal::is_terminal(&io::stderr())),
        },
    };
    let (layer, control) = filtered(output, FIRST_FILTER);
    tracing_subscriber::registry().with(layer).try_init().map_err(LoggingError::Twice)?;
    Ok(control)
}

impl LogControl {
    /// Puts a filter in force and answers it.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgument`] for a filter that cannot be parsed; the old one stays in force.
    pub fn set_filter(&self, text: &str) -> Result<String, Fault> {
        let invalid = || FaultKind::InvalidArgument { field: "filter".to_owned() };
        let filter = parse_filter(text).map_err(|error| Fault::new(invalid(), error.to_string()))?;
        let in_force = filter.to_string();
        self.filter.reload(filter).map_err(|error| Fault::internal(error.to_string()))?;
        spans::renew();
        Ok(in_force)
    }
}

fn lines(format: LogFormat, writer: BoxMakeWriter, ansi: bool) -> Output {
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => Box::new(layer.with_ansi(ansi)),
        // A task has one span: a list of them would say the same again.
        LogFormat::Json => Box::new(layer.json().flatten_event(true).with_span_list(false)),
    }
}

fn filtered(output: Output, filter: &str) -> (impl Layer<Registry> + Send + Sync + 'static, LogControl) {
    let filter = parse_filter(filter).unwrap_or_else(|_| EnvFilter::new(FIRST_FILTER));
    let (filter, handle) = reload::Layer::new(filter);
    // Without a hint, every event and every record of the `log` crate would be built and asked about: several for each
    // WebSocket frame. The filter itself says how far it goes.
    let filter = filter.and(filter_fn(is_allowed).with_max_level_hint(LevelFilter::TRACE));
    (output.with_filter(filter), LogControl { filter: handle })
}

/// A control of a filter that no log uses: a test process has one log for all tests.
#[cfg(test)]
pub(crate) fn unattached() -> LogControl {
    let output = lines(LogFormat::Text, BoxMakeWriter::new(io::sink), false);
    let (layer, control) = filtered(output, FIRST_FILTER);
    // The handle works while its layer lives.
    std::mem::forget(layer);
    control
}

/// The cap on third-party code.
fn is_allowed(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= cap(metadata.target())
}

fn cap(target: &str) -> Level {
    let name = target.split("::").next().unwrap_or(target);
    if OURS.contains(&name) || name.starts_with("stormtunnel_") {
        Level::TRACE
    } else if TALKATIVE.contains(&name) {
        Level::WARN
    } else {
        Level::INFO
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        /// What was written since the last look.
        pub(super) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(format: LogFormat, filter: &str, act: impl FnOnce(&LogControl)) -> String {
        let lines = Lines::default();
        let (layer, control) =
            filtered(super::lines(format, BoxMakeWriter::new(lines.clone()), false), filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || act(&control));
        lines.take()
    }

    #[test]
    fn third_party_code_is_capped_whatever_the_filter() {
        for filter in ["trace", "tungstenite=trace", "info,aws_smithy_runtime=trace,log=trace"] {
            let text = logged(LogFormat::Text, filter, |_| {
                tracing::trace!(target: "tungstenite::protocol", "TOKEN");
                tracing::debug!(target: "aws_smithy_runtime", "TOKEN");
                tracing::debug!(target: "stormtunnelx", "TOKEN");
                tracing::info!(target: "aws_config::profile::credentials", "KEY");
            });
            assert_eq!(text, "", "{filter}");
        }
        let text = logged(LogFormat::Text, "trace", |_| {
            tracing::trace!(target: "stormtunnel_engine::tunnel", "ours");
            tracing::trace!(target: "smux::mux", "the multiplexer's");
            tracing::info!(target: "tungstenite", "theirs");
        });
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn what_the_filter_hides_is_not_even_built() {
        for (filter, most) in [("info", LevelFilter::INFO), ("warn,stormtunneld=debug", LevelFilter::DEBUG)] {
            let output = lines(LogFormat::Text, BoxMakeWriter::new(io::sink), false);
            let (layer, _control) = filtered(output, filter);
            assert_eq!(Layer::<Registry>::max_level_hint(&layer), Some(most), "{filter}");
        }
    }

    #[test]
    fn the_filter_changes_while_the_process_runs() {
        let text = logged(LogFormat::Text, "info", |control| {
            tracing::debug!(target: "stormtunneld", "before");
            assert_eq!(control.set_filter("warn,stormtunneld=debug").unwrap(), "stormtunneld=debug,warn");
            tracing::debug!(target: "stormtunneld", "after");
            tracing::info!(target: "stormtunnel_engine", "hidden");
        });
        assert!(text.contains("after") && !text.contains("before") && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_changes_nothing() {
        let text = logged(LogFormat::Text, "stormtunneld=debug", |control| {
            let fault = control.set_filter("stormtunneld=loud").unwrap_err();
            assert_eq!(fault.kind, FaultKind::InvalidArgument { field: "filter".to_owned() });
            tracing::debug!(target: "stormtunneld", "still here");
        });
        assert!(text.contains("still here"), "{text}");
    }

    #[test]
    fn json_is_one_object_per_line() {
        let text =
            logged(LogFormat::Json, "info", |_| tracing::info!(target: "stormtunneld", tunnel = "db", "up"));
        assert!(text.starts_with('{') && text.ends_with("}\n"), "{text}");
        assert!(text.contains("\"tunnel\":\"db\"") && text.contains("\"message\":\"up\""), "{text}");
    }
}
