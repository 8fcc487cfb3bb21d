//! Messages of every kind with any values that they may have: written, read, written again.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::fec::SymbolSet;
use mcast::seal;
use mcast::wire::{
    Abort, AbortReason, Announce, BlockNumber, Confirm, DatagramNumber, Digest, End, Entries, Join, Label,
    Leave, Message, Name, Need, Needs, Outcome, Phase, ReceiverId, Report, Roster, Seek, SessionId, Stage,
    Standing, Status, Symbol, Text, parse,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::examples::{described, sealed};

fn millis() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|millis| Duration::from_millis(u64::from(millis)))
}

fn micros() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|micros| Duration::from_micros(u64::from(micros)))
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![select(Exit::TABLE), (1..=127_u8).prop_map(Exit::Signal)]
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,200}"
}

prop_compose! {
    fn outcome()(exit in exit(), bytes: u64, lost_symbols: u64, dropped: u64, nacks: u64, stalled in millis()) -> Outcome {
        Outcome { exit, bytes, lost_symbols, dropped, nacks, stalled }
    }
}

prop_compose! {
    fn status()(one: u64, other: u64, grtt in micros(), group_size: u32) -> Status {
        Status { next_block: BlockNumber(one.max(other)), released: BlockNumber(one.min(other)), grtt, group_size }
    }
}

prop_compose! {
    /// Needs of a report: offsets that rise, bitmaps of any length.
    fn needs()(steps in prop::collection::vec((1..1_000_000_u32, 1..=255_u8, prop::collection::btree_set(0..256_usize, 0..9)), 0..40)) -> Vec<Need> {
        let mut next = 0;
        let need = |(step, missing, symbols): (u32, u8, std::collections::BTreeSet<usize>)| {
            next += step;
            let symbols = (!symbols.is_empty()).then(|| SymbolSet::from_iter(symbols));
            Need { offset: next - 1, missing, symbols }
        };
        steps.into_iter().map(need).collect()
    }
}

const STANDINGS: [Standing; 9] = [
    Standing::Admitted,
    Standing::RefusedStarted,
    Standing::RefusedFull,
    Standing::EvictedSilent,
    Standing::EvictedStalled,
    Standing::Left,
    Standing::Verified,
    Standing::Done,
    Standing::Present,
];

const REASONS: [AbortReason; 5] = [
    AbortReason::NotStarted,
    AbortReason::Stopped,
    AbortReason::SourceFailed,
    AbortReason::GroupTaken,
    AbortReason::Other,
];

/// Sends `message` through bytes and compares what comes out, then whatever is written of that.
fn round_trip(session: [u8; 16], number: u64, message: &Message<'_>) {
    let (session, number) = (SessionId(session), DatagramNumber(number));
    let datagram = sealed(session, number, message);
    let content = seal::open(&datagram).expect("what is sealed opens");
    let (header, read) = parse(content).unwrap_or_else(|error| panic!("{message:?}: {error}"));
    assert_eq!((header.kind, header.session, header.number), (message.kind(), session, number));
    assert_eq!(described(&read), described(message));
    assert_eq!(sealed(header.session, header.number, &read), datagram);
}

proptest! {
    #[test]
    fn announces_come_back(
        session: [u8; 16], number: u64, started: bool, block_symbols in 1..=255_u8, symbol_size in 64..=u16::MAX,
        join_spread in millis(), peer_timeout in millis(), age in millis(), grtt in micros(), group_size: u32, echo: u64,
        label in "[A-Za-z0-9._-]{1,64}", name in "[A-Za-z0-9._-]{0,64}",
    ) {
        let phase = if started { Phase::Started } else { Phase::Waiting };
        let name = Name::new(&name).filter(|_| label.len() + name.len() < 64);
        let label = Label::new(&label).unwrap();
        round_trip(session, number, &Message::Announce(Announce {
            phase, block_symbols, symbol_size, join_spread, peer_timeout, age, grtt, group_size,
            echo: ReceiverId(echo), label, name,
        }));
    }

    #[test]
    fn symbols_come_back(
        session: [u8; 16], number: u64, symbol: u8, block_len in 1..=u32::MAX, block: u64,
        payload in prop::collection::vec(any::<u8>(), 1..2_000),
    ) {
        let symbol = Symbol { substream: 0, symbol, block_len, block: BlockNumber(block), payload: &payload };
        round_trip(session, number, &Message::Source(symbol));
        round_trip(session, number, &Message::Repair(symbol));
    }

    #[test]
    fn keep_alives_and_ends_come_back(session: [u8; 16], number: u64, status in status(), bytes: u64, digest: [u8; 16]) {
        round_trip(session, number, &Message::KeepAlive(status));
        round_trip(session, number, &Message::End(End { status, bytes, digest: Digest(digest) }));
    }

    #[test]
    fn rosters_come_back(
        session: [u8; 16], number: u64, entries in prop::collection::vec((any::<u64>(), select(&STANDINGS[..])), 0..200),
    ) {
        let entries: Vec<_> = entries.into_iter().map(|(id, standing)| (ReceiverId(id), standing)).collect();
        round_trip(session, number, &Message::Roster(Roster { entries: Entries::Given(&entries) }));
    }

    #[test]
    fn aborts_come_back(session: [u8; 16], number: u64, reason in select(&REASONS[..]), text in text()) {
        round_trip(session, number, &Message::Abort(Abort { reason, text: Text::truncated(&text) }));
    }

    #[test]
    fn joins_come_back(
        session: [u8; 16], number: u64, receiver: u64, window in 1..=u32::MAX, credit in 1..=u32::MAX,
        peer_timeout in millis(), name in "[!#-&(-\\[\\]-_a-~]{1,64}",
    ) {
        let (receiver, name) = (ReceiverId(receiver), Name::new(&name).unwrap());
        round_trip(session, number, &Message::Join(Join { receiver, window, credit, peer_timeout, name }));
        round_trip(session, number, &Message::Seek(Seek { receiver, name }));
    }

    #[test]
    fn reports_come_back(
        session: [u8; 16], number: u64, receiver: u64, numbers: [u64; 2], arrived: u64, held in micros(), waited in micros(),
        blocks: [u64; 2], counts: [u64; 3], window: u32, credit: u32, stalled in millis(), needs in needs(),
    ) {
        let [bytes, lost_symbols, dropped] = counts;
        round_trip(session, number, &Message::Report(Report {
            receiver: ReceiverId(receiver),
            highest: DatagramNumber(numbers[0].max(numbers[1])),
            settled: DatagramNumber(numbers[0].min(numbers[1])),
            arrived,
            held,
            waited,
            received: BlockNumber(blocks[0].max(blocks[1])),
            position: BlockNumber(blocks[0].min(blocks[1])),
            bytes,
            window,
            credit,
            lost_symbols,
            dropped,
            stalled,
            needs: Needs::Given(&needs),
        }));
    }

    #[test]
    fn confirmations_and_leaves_come_back(
        session: [u8; 16], number: u64, receiver: u64, done: bool, outcome in outcome(), text in text(),
    ) {
        let (receiver, text) = (ReceiverId(receiver), Text::truncated(&text));
        let stage = if done { Stage::Done } else { Stage::Verified };
        round_trip(session, number, &Message::Confirm(Confirm { receiver, stage, outcome }));
        round_trip(session, number, &Message::Leave(Leave { receiver, outcome, text }));
    }
}
