//! Replays the committed fuzzing corpora on the ordinary compiler.

use std::path::Path;
use std::time::Instant;

fn replay(name: &str, entry: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for file in files {
        entry(&std::fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{count} entries in {}", folder.display());
}

#[test]
fn message_corpus() {
    replay("message", ssm_session::fuzz::message);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
fn session_corpus() {
    let now = Instant::now();
    replay("session", |data| ssm_session::fuzz::session(data, now));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "any instant serves as the origin of a virtual clock")]
fn handshake_corpus() {
    let now = Instant::now();
    replay("handshake", |data| ssm_session::fuzz::handshake(data, now));
}
