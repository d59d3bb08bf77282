//! The journal of systemd, in its own protocol: a priority for each line, and a field for each value, so that
//! `journalctl --user-unit=stormtunneld -p warning` and `journalctl TUNNEL=db` find what they ask for.
//!
//! The protocol is at <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. Libraries that speak it leave the values out of the text, which
//! is all that journalctl shows of a line (docs/adr/0011).

use std::fmt::{Debug, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketAddrUnix, sendto};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// What systemd sets where it connects standard error to the journal: device and inode.
const STREAM: &str = "JOURNAL_STREAM";
const IDENTIFIER: &str = "stormtunneld";
/// Longest wait for a journal that takes nothing, once: from then on lines are dropped until it does. A burst of lines waits for less.
const PATIENCE: Duration = Duration::from_millis(50);
/// Longest value, in bytes: all of an entry fits into one datagram then, whose limit is some 200 kB.
const LONGEST: usize = 8 << 10;

/// Writes entries into the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    address: SocketAddrUnix,
    /// It took nothing when it was last asked.
    hangs: AtomicBool,
    /// Lines that were dropped, and that nothing was said about yet.
    dropped: AtomicU64,
}

impl Journal {
    /// The journal, if standard error leads there and journald answers.
    pub(super) fn behind_stderr() -> Option<Self> {
        let stream = std::env::var(STREAM).ok()?;
        if is_stream(&stream, io::stderr()) { Self::at(Path::new(SOCKET)).ok() } else { None }
    }

    fn at(path: &Path) -> io::Result<Self> {
        let (socket, address) = (UnixDatagram::unbound()?, SocketAddrUnix::new(path)?);
        socket.set_write_timeout(Some(PATIENCE))?;
        // Discarded where somebody listens, and an error where nobody does.
        sendto(&socket, &[], SendFlags::empty(), &address)?;
        Ok(Self { socket, address, hangs: AtomicBool::new(false), dropped: AtomicU64::new(0) })
    }

    /// What a journal that hangs does not take is dropped and counted: the daemon does not hang with it. Without a journal a line
    /// goes to standard error.
    fn send(&self, level: Level, text: &str, entry: &[u8]) {
        match self.offer(entry) {
            Ok(()) => match self.dropped.swap(0, Ordering::Relaxed) {
                0 => {}
                lines => self.tell_of(lines),
            },
            Err(Errno::AGAIN | Errno::NOBUFS) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                let _ = writeln!(io::stderr(), "<{}>{text}", priority(level));
            }
        }
    }

    fn offer(&self, entry: &[u8]) -> Result<(), Errno> {
        let flags = if self.hangs.load(Ordering::Relaxed) { SendFlags::DONTWAIT } else { SendFlags::empty() };
        let sent = sendto(&self.socket, entry, flags, &self.address);
        self.hangs.store(matches!(sent, Err(Errno::AGAIN | Errno::NOBUFS)), Ordering::Relaxed);
        sent.map(drop)
    }

    fn tell_of(&self, lines: u64) {
        let mut entry = Entry::default();
        entry.put(
            "MESSAGE",
            &format!("the journal took nothing for a while: {lines} lines are missing before the last one"),
        );
        entry.put("PRIORITY", &priority(Level::WARN).to_string());
        entry.put("SYSLOG_IDENTIFIER", IDENTIFIER);
        if self.offer(&entry.0).is_err() {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// Whether that is the file that the variable names.
fn is_stream(variable: &str, file: impl AsFd) -> bool {
    let Some((device, inode)) = variable.split_once(':') else { return false };
    // Wide enough for what these numbers are on any system.
    rustix::fs::fstat(file).is_ok_and(|found| {
        device.parse() == Ok(i128::from(found.st_dev)) && inode.parse() == Ok(i128::from(found.st_ino))
    })
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut values = Values::default();
        attributes.record(&mut values);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(values);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut extensions = span.extensions_mut();
            if let Some(values) = extensions.get_mut::<Values>() {
                record.record(values);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut said = Values::default();
        event.record(&mut said);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Values { fields, .. }) = span.extensions().get() {
                said.fields.extend(fields.iter().cloned());
            }
        }
        let (metadata, text) = (event.metadata(), said.text());
        let mut entry = Entry::default();
        entry.put("MESSAGE", &text);
        entry.put("PRIORITY", &priority(*metadata.level()).to_string());
        entry.put("SYSLOG_IDENTIFIER", IDENTIFIER);
        entry.put("TARGET", said.target.as_deref().unwrap_or(metadata.target()));
        for (name, value) in &said.fields {
            entry.put(&field_name(name), value);
        }
        self.send(*metadata.level(), &text, &entry.0);
    }
}

/// As syslog counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// What an event or a span says.
#[derive(Debug, Default)]
struct Values {
    message: String,
    /// Of a record of the `log` crate.
    target: Option<String>,
    fields: Vec<(&'static str, String)>,
}

impl Values {
    /// For whom reads: the message, then the values.
    fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            let _ = write!(text, " {name}={value}");
        }
        text
    }

    fn take(&mut self, name: &'static str, value: String) {
        match name {
            "message" => self.message = value,
            "log.target" => self.target = Some(value),
            // Where a record of the `log` crate was made.
            place if place.starts_with("log.") => {}
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Values {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field.name(), format!("{value:?}"));
    }
}

/// Capital letters, digits and underscores, with a letter in front; others are the journal's own.
fn field_name(name: &str) -> String {
    let name = name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    if name.is_empty() { "FIELD".to_owned() } else { name.to_owned() }
}

/// One entry, as it is sent.
#[derive(Default)]
struct Entry(Vec<u8>);

impl Entry {
    fn put(&mut self, name: &str, value: &str) {
        let value = &value[..value.floor_char_boundary(LONGEST)];
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::filtered;
    use super::*;

    /// A journald that keeps what it is told.
    struct Journald {
        socket: UnixDatagram,
        directory: tempfile::TempDir,
    }

    impl Journald {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            Self { socket, directory }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("socket")
        }

        /// The next entry. The first one says nothing: it is how the daemon finds out that somebody listens.
        fn entry(&self) -> BTreeMap<String, String> {
            let mut buffer = vec![0; 256 << 10];
            let length = self.socket.recv(&mut buffer).unwrap();
            fields(&buffer[..length])
        }
    }

    fn fields(mut rest: &[u8]) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut found = BTreeMap::new();
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'=' | b'\n')) {
            let name = text(&rest[..end]);
            let (value, after) = if rest[end] == b'=' {
                let length = rest[end..].iter().position(|byte| *byte == b'\n').unwrap();
                (&rest[end + 1..end + length], &rest[end + length + 1..])
            } else {
                let (length, value) = rest[end + 1..].split_at(8);
                let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
                assert_eq!(value[length], b'\n');
                (&value[..length], &value[length + 1..])
            };
            assert_eq!(found.insert(name.clone(), text(value)), None, "{name} twice");
            rest = after;
        }
        assert_eq!(rest, b"");
        found
    }

    fn logged(journald: &Journald, act: impl FnOnce()) {
        let journal = Journal::at(&journald.path()).unwrap();
        assert_eq!(journald.entry(), BTreeMap::new());
        let (layer, _control) = filtered(Box::new(journal), "debug");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
    }

    #[test]
    fn an_entry_has_priority_fields_and_a_text_with_all_of_them() {
        let journald = Journald::new();
        logged(&journald, || {
            let lane = Option::<u64>::None;
            let span = tracing::error_span!("tunnel", tunnel = %"db", attempt = 7, lane);
            span.in_scope(
                || tracing::warn!(target: "stormtunneld", fault = %"no\nroute", "tunnel is {}", "Retrying"),
            );
            tracing::debug!(target: "stormtunneld", "alone");
        });
        let entry = journald.entry();
        let value = |name: &str| entry.get(name).map(String::as_str);
        assert_eq!(value("MESSAGE"), Some("tunnel is Retrying fault=no\nroute tunnel=db attempt=7"));
        assert_eq!(value("PRIORITY"), Some("4"));
        assert_eq!((value("TUNNEL"), value("ATTEMPT"), value("LANE")), (Some("db"), Some("7"), None));
        assert_eq!(value("FAULT"), Some("no\nroute"), "a value of two lines is one field");
        assert_eq!(
            (value("TARGET"), value("SYSLOG_IDENTIFIER")),
            (Some("stormtunneld"), Some("stormtunneld"))
        );
        let alone = journald.entry();
        assert_eq!((alone["MESSAGE"].as_str(), alone["PRIORITY"].as_str()), ("alone", "7"));
        assert!(!alone.contains_key("TUNNEL"));
    }

    #[test]
    fn a_value_without_end_is_cut_and_the_entry_arrives() {
        let journald = Journald::new();
        logged(&journald, || {
            let long = "\u{e4}".repeat(1 << 20);
            tracing::info!(target: "stormtunneld", long, "much");
        });
        assert_eq!(journald.entry()["LONG"].len(), LONGEST);
    }

    #[test]
    fn a_journal_that_hangs_costs_lines_that_are_counted() {
        let journald = Journald::new();
        let journal = Journal::at(&journald.path()).unwrap();
        assert_eq!(journald.entry(), BTreeMap::new());
        let (layer, _control) = filtered(Box::new(journal), "debug");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            // More than any queue of datagrams holds. A wait for each would take minutes.
            const LINES: usize = 5000;
            for number in 0..LINES {
                tracing::info!(target: "stormtunneld", number, "line");
            }
            let mut held = 0;
            journald.socket.set_nonblocking(true).unwrap();
            let mut buffer = vec![0; 64 << 10];
            while journald.socket.recv(&mut buffer).is_ok() {
                held += 1;
            }
            journald.socket.set_nonblocking(false).unwrap();
            assert!(held < LINES, "the queue holds them all");
            tracing::info!(target: "stormtunneld", "after");
            assert_eq!(journald.entry()["MESSAGE"], "after");
            let told = journald.entry()["MESSAGE"].clone();
            assert!(told.contains(&format!(": {} lines are missing", LINES - held)), "{told}");
        });
    }

    #[test]
    fn names_are_those_that_the_journal_takes() {
        for (name, expected) in
            [("sign_in", "SIGN_IN"), ("_private", "PRIVATE"), ("a.b", "A_B"), ("__", "FIELD"), ("7x", "X")]
        {
            assert_eq!(field_name(name), expected);
        }
    }

    #[test]
    fn the_stream_is_known_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        let (device, inode) = (metadata.dev(), metadata.ino());
        assert!(is_stream(&format!("{device}:{inode}"), &file));
        for other in [format!("{device}:{}", inode + 1), String::new(), ":".to_owned(), format!("{inode}")] {
            assert!(!is_stream(&other, &file), "{other}");
        }
        assert!(!is_stream(&format!("{device}:{inode}"), File::open("/dev/null").unwrap()));
    }

    #[test]
    fn without_journald_there_is_no_journal() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::at(&directory.path().join("socket")).is_err());
    }
}
