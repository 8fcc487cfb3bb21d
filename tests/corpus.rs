//! The corpus of the fuzz targets, replayed without a fuzzer: what once broke, and one seed for each kind of message.

#![expect(clippy::expect_used, reason = "a helper of tests fails the test")]

#[path = "../fuzz/checks/parse.rs"]
mod parse;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcast::exit::Exit;
use mcast::fec::SymbolSet;
use mcast::wire::{
    self, Abort, AbortReason, Announce, BlockNumber, Confirm, DatagramNumber, Digest, End, Entries, Join,
    Kind, Label, Leave, Message, Name, Need, Needs, Outcome, Phase, ReceiverId, Report, Roster, SessionId,
    Stage, Standing, Status, Symbol, Text,
};

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
    if std::env::var_os("MCAST_WRITE_SEEDS").is_some() {
        write_seeds();
    }
    let kinds: Vec<_> = corpus()
        .iter()
        .filter_map(|datagram| wire::parse(datagram).ok().map(|(header, _)| header.kind))
        .collect();
    for kind in Kind::ALL {
        assert!(
            kinds.contains(kind),
            "no seed for {kind:?}: MCAST_WRITE_SEEDS=1 cargo test --test corpus writes them"
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

fn write_seeds() {
    let receiver = ReceiverId(0x0102_0304_0506_0708);
    let status = Status {
        next_block: BlockNumber(9),
        released: BlockNumber(7),
        grtt: Duration::from_micros(800),
        group_size: 3,
    };
    let outcome = Outcome {
        exit: Exit::SinkFailed,
        bytes: 1 << 33,
        lost_symbols: 5,
        nacks: 4,
        stalled: Duration::from_millis(1500),
    };
    let symbol =
        Symbol { substream: 0, symbol: 1, block_len: 1500, block: BlockNumber(8), payload: b"stream" };
    let needs = [
        Need { offset: 0, missing: 2, symbols: None },
        Need { offset: 3, missing: 9, symbols: Some(SymbolSet::below(9)) },
    ];
    let entries = [(receiver, Standing::Admitted), (ReceiverId(2), Standing::RefusedStarted)];
    let text = Text::truncated("no space left on device");
    let messages = [
        Message::Announce(Announce {
            phase: Phase::Waiting,
            block_symbols: 64,
            symbol_size: 1428,
            join_spread: Duration::from_millis(20),
            peer_timeout: Duration::from_secs(10),
            age: Duration::from_millis(300),
            grtt: Duration::from_millis(10),
            group_size: 2,
            label: Label::new("nightly").expect("a label"),
        }),
        Message::Source(symbol),
        Message::Repair(Symbol { symbol: 64, ..symbol }),
        Message::KeepAlive(status),
        Message::End(End { status, bytes: 12_345, digest: Digest([0xd1; 32]) }),
        Message::Roster(Roster { entries: Entries::Given(&entries) }),
        Message::Abort(Abort { reason: AbortReason::SourceFailed, text }),
        Message::Join(Join {
            receiver,
            window: 200,
            credit: 1000,
            peer_timeout: Duration::from_secs(10),
            name: Name::new("db2.example.org").expect("a name"),
        }),
        Message::Report(Report {
            receiver,
            highest: DatagramNumber(1000),
            settled: DatagramNumber(990),
            arrived: 980,
            held: Duration::from_micros(120),
            received: BlockNumber(7),
            position: BlockNumber(6),
            bytes: 600_000,
            window: 190,
            credit: 1000,
            lost_symbols: 11,
            dropped: 0,
            stalled: Duration::ZERO,
            needs: Needs::Given(&needs),
        }),
        Message::Confirm(Confirm { receiver, stage: Stage::Done, outcome }),
        Message::Leave(Leave { receiver, outcome, text }),
    ];
    for message in messages {
        let mut bytes = Vec::new();
        message.write(SessionId([0x5e; 16]), DatagramNumber(1001), &mut bytes);
        let name = format!("{:?}", message.kind()).to_lowercase();
        fs::write(directory().join(name), bytes).expect("a seed can be written");
    }
}
