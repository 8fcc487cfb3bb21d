//! Strangers on the network.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::seal::TRAILER_LEN;
use mcast::session::Rate;
use mcast::sim::{History, Hostile, PlayedBack, Scenario, seeds};
use mcast::wire::{
    Abort, AbortReason, Announce, BlockNumber, DatagramNumber, Entries, Join, Kind, Label, Message, Name,
    Needs, Phase, ReceiverId, Report, Roster, SessionId, Standing, Status, Text,
};

use crate::{all_complete, exits};

#[test]
fn garbage_from_strangers_changes_nothing() {
    for seed in seeds(10) {
        let mut scenario = Scenario::new(seed, 3, 300_000).with_loss(0.01);
        scenario.garbage = 2_000;
        let history = scenario.run();
        all_complete(&history);
        assert!(history.sent.dropped_malformed > 0);
    }
}

#[test]
fn who_misses_what_the_sender_no_longer_has_exits_6() {
    let mut scenario = Scenario::new(1, 1, 12_000);
    (scenario.symbol_size, scenario.block_symbols) = (64, 4);
    scenario.source.trickle = Some((600, Duration::from_millis(2)));
    scenario.receivers[0].deaf = vec![(Duration::from_millis(8), Duration::from_millis(30))];
    // In its name, someone says that it has what it cannot hear.
    let report = Report {
        receiver: ReceiverId(0x1000),
        highest: DatagramNumber(50),
        settled: DatagramNumber(50),
        arrived: 50,
        held: Duration::ZERO,
        waited: Duration::ZERO,
        received: BlockNumber(20),
        position: BlockNumber(20),
        bytes: 5_000,
        window: 100,
        credit: 1_000,
        lost_symbols: 0,
        dropped: 0,
        stalled: Duration::ZERO,
        needs: Needs::Given(&[]),
    };
    let mut content = Vec::new();
    Message::Report(report).write(SessionId([0; 16]), DatagramNumber(1_000), &mut content);
    scenario.hostile = vec![Hostile { at: Duration::from_millis(29), to: 0, from: Some(1), content }];
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Integrity), vec![Some(Exit::Integrity)]),
        "{:?}",
        history.receivers
    );
}

#[test]
fn who_was_never_admitted_leaves_no_session_of_a_stranger() {
    // He announces one and aborts it, from an address that may be another's.
    let mut scenario = Scenario::new(3, 1, 1_000);
    scenario.sender_killed = Some(Duration::ZERO);
    let announce = Announce {
        phase: Phase::Waiting,
        block_symbols: 8,
        symbol_size: 64,
        join_spread: Duration::ZERO,
        peer_timeout: Duration::from_secs(10),
        age: Duration::ZERO,
        grtt: Duration::from_millis(1),
        group_size: 1,
        echo: ReceiverId(0),
        label: Label::new("stranger").expect("a label"),
        name: None,
    };
    let abort = Abort { reason: AbortReason::Stopped, text: Text::truncated("no more") };
    let says = |at, number, message: &Message<'_>| {
        let mut content = Vec::new();
        message.write(SessionId([0; 16]), DatagramNumber(number), &mut content);
        Hostile { at: Duration::from_millis(at), to: 1, from: None, content }
    };
    scenario.hostile = vec![says(10, 0, &Message::Announce(announce)), says(100, 1, &Message::Abort(abort))];
    let history = scenario.run();
    assert_eq!(history.receivers[0].exit, Some(Exit::Aborted), "{:?}", history.receivers[0].error);
    let kinds: Vec<_> = history.to_strangers.iter().map(|datagram| datagram.bytes[1]).collect();
    assert!(kinds.contains(&(Kind::Join as u8)) && !kinds.contains(&(Kind::Leave as u8)), "{kinds:?}");
}

/// Fault 67: a stranger invents a session in the name of a host that has asked for nothing, admits the receiver, and asks
/// for a full report with each of his small datagrams.
#[test]
fn receiver_without_a_key_sends_three_times_what_it_has_heard_at_most() {
    let mut scenario = Scenario::new(67, 1, 1_000);
    scenario.sender_killed = Some(Duration::ZERO);
    let announce = Announce {
        phase: Phase::Waiting,
        block_symbols: 1,
        symbol_size: 64,
        join_spread: Duration::ZERO,
        peer_timeout: Duration::from_secs(10),
        age: Duration::ZERO,
        grtt: Duration::ZERO,
        group_size: 1,
        echo: ReceiverId(0),
        label: Label::new("stranger").expect("a label"),
        name: None,
    };
    let says = |at, number, message: &Message<'_>| {
        let mut content = Vec::new();
        message.write(SessionId([0; 16]), DatagramNumber(number), &mut content);
        Hostile { at: Duration::from_millis(at), to: 1, from: None, content }
    };
    let entries = [(ReceiverId(0x1000), Standing::Admitted)];
    scenario.hostile = vec![
        says(10, 0, &Message::Announce(announce)),
        says(30, 1, &Message::Roster(Roster { entries: Entries::Given(&entries) })),
    ];
    scenario.hostile.extend((2..2_000).map(|number| {
        let status = Status {
            next_block: BlockNumber(number),
            released: BlockNumber(0),
            grtt: Duration::ZERO,
            group_size: 1,
        };
        says(40 + number, number, &Message::KeepAlive(status))
    }));
    let heard: usize = scenario.hostile.iter().map(|datagram| datagram.content.len() + TRAILER_LEN).sum();
    let history = scenario.run();
    let said: usize = history.to_strangers.iter().map(|datagram| datagram.bytes.len()).sum();
    assert!(said <= heard * 3, "{said} bytes for {heard}");
    // It speaks all the same, and with needs in its reports.
    assert!(said > heard * 2, "{said} bytes for {heard}");
    assert_eq!(history.receivers[0].exit, Some(Exit::PeerLost), "{:?}", history.receivers[0].error);
}

/// Four receivers on a line of 200 Mbit/s, of which the last may ask for everything, and how long the others took.
fn beside_greed(copies: u32) -> (Duration, History) {
    let mut scenario = Scenario::new(2, 4, 20_000_000);
    (scenario.symbol_size, scenario.block_symbols, scenario.window) = (1_428, 88, 64);
    scenario.trunk.rate = Some(Rate::from_bits_per_second(200_000_000));
    for receiver in &mut scenario.receivers {
        (receiver.buffer, receiver.socket_buffer) = (8 << 20, 4 << 20);
    }
    scenario.receivers[3].greed = copies;
    let history = scenario.run();
    let started = history.started.unwrap_or_default();
    let took = history.receivers.iter().take(3).map(|receiver| receiver.last_byte.since(started)).max();
    (took.unwrap_or_default(), history)
}

#[test]
fn a_receiver_that_asks_for_everything_costs_the_others_a_tenth_at_most() {
    let (alone, honest) = beside_greed(0);
    all_complete(&honest);
    assert_eq!(honest.sent.dropped_reports, 0);
    // Once, and a hundred times, for each true report: far beyond the ceiling.
    for copies in [1, 100] {
        let (took, history) = beside_greed(copies);
        all_complete(&history);
        assert!(took.mul_f64(0.9) <= alone, "{copies} copies: {took:?} instead of {alone:?}");
        let repairs = history.sent.repair_symbols as f64 / history.source_symbols as f64;
        assert!(repairs > 0.01, "{copies} copies: nobody was greedy");
        assert!(repairs <= 0.12, "{copies} copies: {repairs:.3} repair symbols for each source symbol");
        assert_eq!(history.sent.dropped_reports > 0, copies > 1, "{:?}", history.sent);
    }
}

/// Fault 33: without a key, in half a second. The table is full, but not of those whom the operator waits for.
#[test]
fn a_hundred_thousand_joins_fill_a_bounded_table_in_which_required_names_have_places() {
    let mut scenario = Scenario::new(33, 2, 20_000);
    scenario.start.require = vec!["r0".into(), "r1".into()];
    scenario.peer_timeout = Duration::from_secs(2);
    for receiver in &mut scenario.receivers {
        receiver.launched = Duration::from_secs(1);
    }
    let session = scenario.session();
    scenario.played_back = (0..100_000_u64)
        .map(|number| {
            let name = Name::new(&format!("nobody{number}")).expect("a name");
            let peer_timeout = Duration::from_secs(1);
            let join = Join { receiver: ReceiverId(number << 32), window: 1, credit: 1, peer_timeout, name };
            let mut bytes = Vec::new();
            Message::Join(join).write(session, DatagramNumber(0), &mut bytes);
            mcast::seal::seal_appended(&mut bytes, 0);
            let at = Duration::from_millis(100) + Duration::from_micros(5 * number);
            // Each from another address, as far as there are so many.
            PlayedBack {
                at,
                to: 0,
                from: Some(usize::try_from(number % 60_000).expect("small") + 10),
                bytes: bytes.into(),
            }
        })
        .collect();
    let history = scenario.run();
    // Those that do not exist have failed, and nobody else has.
    assert_eq!(history.sender, Some(Exit::Partial), "{:?}", history.sender_error);
    assert_eq!(history.succeeded, ["r0", "r1"]);
    assert_eq!(history.admitted.len(), mcast::session::MAX_RECEIVERS);
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::Complete), "{:?}", receiver.error);
    }
}
