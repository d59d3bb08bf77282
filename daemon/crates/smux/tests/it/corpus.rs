//! Replays the committed corpus of the fuzz target.

use std::{fs, path::Path};

use crate::start;

#[test]
fn every_input_of_the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fuzz/corpus/smux");
    let mut replayed = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        // The name of the culprit is printed only if this one fails.
        println!("{}", path.display());
        smux::fuzz_entry(&fs::read(&path).unwrap(), start());
        replayed += 1;
    }
    assert!(replayed > 10, "the corpus at {} is gone", corpus.display());
}
