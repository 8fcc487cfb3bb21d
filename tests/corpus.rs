//! The corpus of the fuzz targets, replayed without a fuzzer: what once broke, and one seed for each kind of message.

#![expect(clippy::expect_used, reason = "a helper of tests fails the test")]

#[path = "../fuzz/checks/parse.rs"]
mod parse;

use std::fs;
use std::path::{Path, PathBuf};

use mcast::wire::{self, Kind};

#[test]
fn corpus_is_handled_right_whole_truncated_and_with_any_bit_flipped() {
    for mut datagram in corpus() {
        for length in 0..=datagram.len() {
            parse::check(&datagram[..length]);
        }
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            parse::check(&datagram);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_kind_of_message_has_a_seed_that_parses() {
    let kinds: Vec<_> = corpus()
        .iter()
        .filter_map(|datagram| wire::parse(datagram).ok().map(|(header, _)| header.kind))
        .collect();
    for kind in Kind::ALL {
        assert!(
            kinds.contains(kind),
            "no seed for {kind:?}: MCAST_WRITE_SEEDS=1 cargo test --test protocol writes them"
        );
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parse")
}

/// The files' contents, in the order of their names.
fn corpus() -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory()).expect("the corpus can be listed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}
