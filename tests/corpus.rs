//! The corpus of the fuzz targets, replayed without a fuzzer: what once broke, and seeds.

#![expect(clippy::print_stdout, reason = "names the input at work, shown when a test fails")]
#![expect(clippy::expect_used, reason = "a helper of tests fails the test")]

#[path = "../fuzz/checks/parse.rs"]
mod parse;
#[path = "../fuzz/checks/session.rs"]
mod session;

use std::fs;
use std::path::Path;
use std::time::Duration;

use mcast::sim::Hostile;
use mcast::wire::{self, Kind};

#[test]
fn datagrams_are_handled_right_whole_truncated_and_with_any_bit_flipped() {
    for (_, mut datagram) in corpus("parse") {
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
    let kinds: Vec<_> = corpus("parse")
        .iter()
        .filter_map(|(_, datagram)| wire::parse(datagram).ok().map(|(header, _)| header.kind))
        .collect();
    for kind in Kind::ALL {
        assert!(
            kinds.contains(kind),
            "no seed for {kind:?}: MCAST_WRITE_SEEDS=1 cargo test --test protocol writes them"
        );
    }
}

#[test]
fn sessions_survive_what_once_broke_them() {
    for (name, records) in corpus("session") {
        println!("{name}");
        session::check(&records);
    }
}

#[test]
fn sessions_survive_any_message_from_anyone_to_anyone() {
    for (name, content) in corpus("parse") {
        for to in 0..session::HOSTS {
            for from in [None, Some(0), Some(1)] {
                for at in MOMENTS {
                    println!("{name} to {to} from {from:?} after {at:?}");
                    session::play(vec![Hostile { at, to, from, content: content.clone() }]);
                }
            }
        }
    }
}

#[test]
fn sessions_survive_messages_with_the_largest_numbers_in_any_place() {
    for (name, content) in corpus("parse") {
        let from_sender = content[1] < 16;
        let (to, from) = if from_sender { (1, Some(0)) } else { (0, Some(1)) };
        for place in 18..content.len() {
            let mut content = content.clone();
            content[place..].iter_mut().take(8).for_each(|byte| *byte = 0xff);
            for at in MOMENTS {
                println!("{name}, {place} after {at:?}");
                session::play(vec![Hostile { at, to, from, content: content.clone() }]);
            }
        }
    }
}

/// While the start window is open, in the data, after the end.
const MOMENTS: [Duration; 3] =
    [Duration::from_millis(3), Duration::from_millis(20), Duration::from_millis(42)];

/// The names and contents of a target's files, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(directory).expect("the corpus can be listed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    let read = |path: &Path| (path.display().to_string(), fs::read(path).expect("a seed can be read"));
    paths.iter().map(|path| read(path)).collect()
}
