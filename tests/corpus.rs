//! The corpus of the fuzz targets, replayed without a fuzzer: what once broke, and seeds.

#![expect(clippy::print_stdout, reason = "names the input at work, shown when a test fails")]
#![expect(clippy::expect_used, reason = "a helper of tests fails the test")]

#[path = "../fuzz/checks/command_line.rs"]
mod command_line;
#[path = "../fuzz/checks/key_file.rs"]
mod key_file;
#[path = "../fuzz/checks/keyed.rs"]
mod keyed;
#[path = "../fuzz/checks/parse.rs"]
mod parse;
#[path = "../fuzz/checks/replay.rs"]
mod replay;
#[path = "../fuzz/checks/session.rs"]
mod session;

use std::fs;
use std::path::Path;
use std::time::Duration;

use mcast::sim::{Hostile, seeds};
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

/// Like the fuzzer, but with the kinds' own fields in mind, and the same each time.
#[test]
fn sessions_survive_liars_who_keep_talking() {
    let corpus = corpus("session");
    for seed in seeds(2_000) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut records = Vec::new();
        for _ in 0..rng.usize(1..12) {
            let mut record = corpus[rng.usize(..corpus.len())].1.clone();
            // When; sometimes also to whom, and from whom.
            record[..2].copy_from_slice(&rng.u16(0..3_000).to_be_bytes());
            if rng.u8(0..4) == 0 {
                record[2] = rng.u8(0..3);
                record[3] = rng.u8(0..4);
            }
            // Numbers are believed if they are near the true ones, and tell of bugs if they are at a limit.
            let places = 24..record.len();
            for _ in 0..rng.usize(0..4) {
                let place = rng.usize(places.clone());
                let number = match rng.u8(0..4) {
                    0 => rng.u64(0..300),
                    1 => u64::MAX - rng.u64(0..3),
                    2 => rng.u64(..) >> rng.u8(0..64),
                    _ => 1 << rng.u8(0..64),
                };
                let bytes = number.to_be_bytes();
                let width = 1 << rng.u8(0..4);
                for (to, from) in record[place..].iter_mut().zip(&bytes[8 - width..]) {
                    *to = *from;
                }
            }
            records.extend(record);
        }
        let survived = std::panic::catch_unwind(|| session::check(&records));
        assert!(survived.is_ok(), "replay with MCAST_SEED={seed}");
    }
}

#[test]
fn sessions_with_a_key_survive_what_once_broke_them() {
    for (name, records) in corpus("keyed") {
        println!("{name}");
        keyed::check(&records);
    }
}

/// Well sealed in plain mode, under another key, and not at all; from everybody's address, at every time.
#[test]
fn whoever_has_not_the_key_changes_no_session_that_has_one() {
    for (name, content) in corpus("parse") {
        for to in 0..keyed::HOSTS as u8 {
            for from in 0..=keyed::HOSTS as u8 {
                println!("{name} to {to} from {from}");
                let mut records = vec![0, 0, 0];
                for at in MOMENTS {
                    for seal in [1, 2, 4] {
                        records.extend(record(at, to, from, seal, &content));
                    }
                }
                keyed::check(&records);
            }
        }
    }
}

/// A host of the group that was broken into may spoil a session, but makes nobody panic or wait for ever.
#[test]
fn sessions_with_a_key_end_whatever_an_insider_says() {
    let corpus = corpus("parse");
    for seed in seeds(700) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut records = vec![0, 0, 0];
        for _ in 0..rng.usize(1..12) {
            let mut content = corpus[rng.usize(..corpus.len())].1.clone();
            for _ in 0..rng.usize(0..4) {
                let place = rng.usize(18..content.len());
                let number = rng.u64(..) >> rng.u8(0..64);
                let width = 1 << rng.u8(0..4);
                for (to, from) in content[place..].iter_mut().zip(&number.to_be_bytes()[8 - width..]) {
                    *to = *from;
                }
            }
            let at = Duration::from_micros(rng.u64(0..60_000));
            records.extend(record(at, rng.u8(0..3), rng.u8(0..4), 0, &content));
        }
        let survived = std::panic::catch_unwind(|| keyed::check(&records));
        assert!(survived.is_ok(), "replay with MCAST_SEED={seed}");
    }
}

/// A record as `fuzz/checks/keyed.rs` draws it.
fn record(at: Duration, to: u8, from: u8, seal: u8, content: &[u8]) -> Vec<u8> {
    let at = u16::try_from(at.as_micros() / 20).expect("a moment within a second");
    let length = u16::try_from(content.len()).expect("a datagram");
    [&at.to_be_bytes()[..], &[to, from, seal], &length.to_be_bytes(), content].concat()
}

#[test]
fn replays_that_once_broke_a_session_change_none() {
    for (name, records) in corpus("replay") {
        println!("{name}");
        replay::check(&records);
    }
}

/// Like the fuzzer, and the same each time.
#[test]
fn replays_at_chosen_moments_change_no_session() {
    for seed in seeds(1_000) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut records = vec![rng.u8(..), if rng.bool() { 0 } else { rng.u8(..) }, rng.u8(..)];
        // Around the launch of today's sender, or anywhere.
        let moments = if rng.bool() { 1_150..1_260 } else { 0..4_000 };
        for _ in 0..rng.usize(0..60) {
            records.extend(rng.u16(moments.clone()).to_be_bytes());
            records.extend([rng.u8(..), rng.u8(..), rng.u8(..)]);
        }
        let survived = std::panic::catch_unwind(|| replay::check(&records));
        assert!(survived.is_ok(), "replay with MCAST_SEED={seed}");
    }
}

#[test]
fn key_files_are_handled_right_whole_truncated_and_with_any_bit_flipped() {
    for (_, mut text) in corpus("key_file") {
        for length in 0..=text.len() {
            key_file::check(&text[..length]);
        }
        for bit in 0..text.len() * 8 {
            text[bit / 8] ^= 1 << (bit % 8);
            key_file::check(&text);
            text[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Each as it is, and with every byte in turn replaced by those that mean something somewhere.
#[test]
fn command_lines_are_handled_right_whatever_is_in_them() {
    for (name, words) in corpus("command_line") {
        println!("{name}");
        command_line::check(&words);
        for place in 1..words.len().min(100) {
            for byte in [0, b'\n', 0x1b, b'-', b'/', b'{', 0xff] {
                let mut words = words.clone();
                words[place] = byte;
                command_line::check(&words);
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
