//! Strangers on the network.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::sim::{Hostile, Scenario, seeds};
use mcast::wire::{BlockNumber, DatagramNumber, Message, Needs, ReceiverId, Report, SessionId};

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
