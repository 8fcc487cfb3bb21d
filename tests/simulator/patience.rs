//! Peer timeouts, short ones above all: whoever lives is not taken for dead, whatever the network is like.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::{LinkConfig, Loss, ReceiverPlan, Scenario, seeds};

use crate::{all_complete, exits};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A session of some ten seconds, with this peer timeout on all sides.
fn impatient(seed: u64, timeout: Duration) -> Scenario {
    let mut scenario = Scenario::new(seed, 3, 100_000);
    scenario.source.trickle = Some((1_000, ms(100)));
    scenario.peer_timeout = timeout;
    scenario
}

/// The shortest that the command line takes, and others.
const TIMEOUTS: [Duration; 3] = [ms(500), seconds(1), seconds(3)];

#[test]
fn a_fifth_of_all_datagrams_lost_both_ways_is_no_silence() {
    for timeout in TIMEOUTS {
        for seed in seeds(30) {
            let mut scenario = impatient(seed, timeout).with_loss(0.2);
            for receiver in &mut scenario.receivers {
                receiver.leaf_back.loss = Loss::Independent(0.2);
            }
            all_complete(&scenario.run());
        }
    }
}

#[test]
fn a_slow_rate_is_no_silence() {
    for timeout in TIMEOUTS {
        let mut scenario = impatient(1, timeout);
        scenario.source.trickle = None;
        scenario.symbol_size = 1_428;
        scenario.rate = Some(Rate::from_bits_per_second(100_000));
        all_complete(&scenario.run());
    }
}

#[test]
fn a_slow_port_with_a_deep_queue_is_no_silence() {
    for timeout in TIMEOUTS {
        let mut scenario = impatient(2, timeout);
        scenario.source.trickle = None;
        scenario.source.bytes = 1_000_000;
        scenario.symbol_size = 1_428;
        for receiver in &mut scenario.receivers {
            receiver.leaf.rate = Some(Rate::from_bits_per_second(1_000_000));
            receiver.leaf.queue = 2 << 20;
        }
        all_complete(&scenario.run());
    }
}

#[test]
fn a_round_trip_longer_than_the_timeout_is_no_silence() {
    for timeout in TIMEOUTS {
        let mut scenario = impatient(3, timeout);
        for receiver in &mut scenario.receivers {
            let far = LinkConfig { delay: ms(500), jitter: ms(20), ..LinkConfig::default() };
            (receiver.leaf, receiver.leaf_back) = (far.clone(), far);
        }
        all_complete(&scenario.run());
    }
}

#[test]
fn waiting_pausing_and_idling_are_no_silence() {
    for timeout in TIMEOUTS {
        let mut scenario = impatient(4, timeout).with_loss(0.05);
        // The last one comes after half a minute, the source rests for as long, then a sink does, and works on.
        scenario.receivers[2].launched = seconds(30);
        scenario.source.trickle = Some((50_000, seconds(60)));
        scenario.receivers[0].sink.stalls = vec![(seconds(55), seconds(90))];
        scenario.receivers[0].buffer = 20_000;
        scenario.receivers[1].sink.closing = seconds(30);
        all_complete(&scenario.run());
    }
}

#[test]
fn members_of_a_crowd_are_not_dead_because_their_turn_to_report_comes_late() {
    for (receivers, timeout, loss) in
        [(100, ms(500), 0.01), (1_000, seconds(1), 0.01), (1_000, seconds(10), 0.1)]
    {
        let mut scenario = Scenario::new(5, 0, 300_000);
        scenario.source.trickle = Some((10_000, ms(300)));
        scenario.symbol_size = 1_428;
        scenario.receivers = (0..receivers).map(ReceiverPlan::new).collect();
        scenario.start.min_receivers = receivers as u32;
        scenario.peer_timeout = timeout;
        for receiver in &mut scenario.receivers {
            receiver.leaf_back.loss = Loss::Independent(loss);
        }
        all_complete(&scenario.run());
    }
}

#[test]
fn a_dead_receiver_costs_the_others_the_timeout_and_less_than_a_second_more() {
    for timeout in [ms(500), seconds(1), seconds(3), seconds(10)] {
        for at in [20, 60, 100] {
            let mut scenario = Scenario::new(6, 3, 30_000_000).with_loss(0.01);
            scenario.peer_timeout = timeout;
            scenario.receivers[1].killed = Some(ms(at));
            let history = scenario.run();
            assert_eq!(
                exits(&history),
                (Some(Exit::Partial), vec![Some(Exit::Complete), None, Some(Exit::Complete)])
            );
            // What the transfer takes without it is 340 ms at most.
            let last = history.receivers[0].last_byte.as_nanos();
            let most = timeout + seconds(1) + ms(340);
            assert!(u128::from(last) < most.as_nanos(), "{timeout:?}, {at}: {last}");
        }
    }
}
