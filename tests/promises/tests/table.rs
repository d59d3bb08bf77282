//! The committed table is the one that the committed promises and figures give, and every promise was seen kept.

use std::path::Path;

use stormtunnel_promises::{Promises, SeenById, replace_table};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

#[test]
fn the_committed_table_is_up_to_date_and_complete() {
    let promises: Promises = toml::from_str(&read("promises.toml")).unwrap();
    let seen: SeenById = toml::from_str(&read("promises-seen.toml")).unwrap();
    let document = read("testing.md");
    assert!(replace_table(&document, &promises, &seen).unwrap() == document, "run `just promises`");
    for promise in &promises.promise {
        assert!(
            seen.contains_key(&promise.id),
            "{} was never seen kept: run `just promises {0}`",
            promise.id
        );
    }
}
