//! Reading recordings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use serde::Deserialize;
use ssm_session::Message;

/// One session, as it passed a gateway between the two programs.
#[derive(Debug)]
pub struct Recording {
    /// File name without its extension.
    pub name: String,
    /// In the order of arrival at the gateway.
    pub lines: Vec<Line>,
}

/// One frame, or an action of the set-up that recorded it.
#[derive(Debug)]
pub struct Line {
    /// Number of the line.
    pub index: u64,
    /// Since the session was created.
    pub at: Duration,
    /// Who sent it to whom.
    pub direction: Direction,
    /// `data`, `control`, `api` or `rest`.
    pub channel: String,
    /// `binary`, `text`, `ping`, `pong`, `open`, `closed`, `close`, `http`, `drop`, `drop_conn`.
    pub op: String,
    /// Ordinal of that side's WebSocket.
    pub connection: Option<u64>,
    /// The frame, exactly.
    pub bytes: Bytes,
    /// What the set-up did, in words.
    pub note: String,
}

/// Who sent a frame to whom. The service's frames towards one side are mostly those of the other, passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Direction {
    /// AWS's client to the gateway.
    #[serde(rename = "client->service")]
    FromClient,
    /// The gateway to AWS's client.
    #[serde(rename = "service->client")]
    ToClient,
    /// AWS's agent to the gateway.
    #[serde(rename = "agent->service")]
    FromAgent,
    /// The gateway to AWS's agent.
    #[serde(rename = "service->agent")]
    ToAgent,
    /// An action of the recording set-up.
    #[serde(rename = "note")]
    Note,
}

#[derive(Deserialize)]
struct RawLine {
    i: u64,
    t_ms: f64,
    dir: Direction,
    #[serde(default)]
    channel: String,
    op: String,
    conn: Option<u64>,
    b64: Option<String>,
    #[serde(default)]
    note: String,
}

impl Recording {
    /// Reads the recording of that name.
    ///
    /// # Panics
    /// When the file is missing or broken: it is part of this crate.
    #[must_use]
    pub fn load(name: &str) -> Self {
        let path = data_directory().join(format!("{name}.jsonl"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        Self { name: name.to_owned(), lines: text.lines().map(Line::parse).collect() }
    }

    /// The names of all recordings, sorted.
    ///
    /// # Panics
    /// When the directory is missing.
    #[must_use]
    pub fn names() -> Vec<String> {
        let entries =
            std::fs::read_dir(data_directory()).unwrap_or_else(|error| panic!("read data: {error}"));
        let file_name =
            |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        let mut names: Vec<String> = entries
            .filter_map(file_name)
            .filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// The data-channel lines of one direction.
    pub fn data(&self, direction: Direction) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.direction == direction && line.channel == "data")
    }
}

impl Line {
    fn parse(text: &str) -> Self {
        let raw: RawLine = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let decode = |b64: String| base64::engine::general_purpose::STANDARD.decode(b64);
        let bytes = raw.b64.map(|b64| decode(b64).unwrap_or_else(|error| panic!("line {}: {error}", raw.i)));
        Self {
            index: raw.i,
            at: Duration::from_secs_f64(raw.t_ms / 1000.0),
            direction: raw.dir,
            channel: raw.channel,
            op: raw.op,
            connection: raw.conn,
            bytes: bytes.unwrap_or_default().into(),
            note: raw.note,
        }
    }

    /// The message in a binary frame of the data channel.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        if self.channel != "data" || self.op != "binary" {
            return None;
        }
        Message::decode(self.bytes.clone()).ok()
    }
}

/// Where the recordings and the table of deviations are.
#[must_use]
pub fn data_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}
