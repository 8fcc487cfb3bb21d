//! Hosts that die, stop, or are told to; sources and sinks that fail.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::Scenario;
use mcast::time::Time;

use crate::{all_complete, exits};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A session that goes on for ten seconds.
fn ten_seconds(seed: u64) -> Scenario {
    let mut scenario = Scenario::new(seed, 3, 1_000_000);
    scenario.source.trickle = Some((10_000, Duration::from_millis(100)));
    scenario
}

#[test]
fn a_killed_sender_is_noticed_within_the_peer_timeout() {
    let mut scenario = ten_seconds(1);
    scenario.sender_killed = Some(seconds(5));
    let history = scenario.run();
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::PeerLost));
        let at = receiver.ended.as_nanos();
        assert!((14_700_000_000..15_500_000_000).contains(&at), "{at}");
        assert!(receiver.bytes < 1_000_000);
    }
}

/// The start window is open for half a second, data comes until 0.9 s, and then the sinks are at work for a second.
fn every_phase(seed: u64) -> Scenario {
    let mut scenario = Scenario::new(seed, 3, 100_000).with_loss(0.02);
    scenario.source.trickle = Some((10_000, Duration::from_millis(100)));
    (scenario.start_timeout, scenario.peer_timeout) = (Some(seconds(20)), seconds(3));
    scenario.start.min_wait = Duration::from_millis(500);
    for receiver in &mut scenario.receivers {
        receiver.sink.closing = seconds(1);
    }
    scenario
}

#[test]
fn whenever_a_sender_is_killed_its_receivers_end_as_the_phase_demands() {
    let mut furthest = vec![0; 3];
    for at in (0..64).map(|step| Duration::from_millis(40 * step)) {
        let mut scenario = every_phase(1);
        scenario.sender_killed = Some(at);
        let history = scenario.run();
        for (receiver, before) in history.receivers.iter().zip(&mut furthest) {
            let phase = match receiver.exit {
                Some(Exit::NotStarted) if receiver.bytes == 0 => 0,
                Some(Exit::PeerLost) => 1,
                Some(Exit::Complete) => 2,
                exit => panic!("killed at {at:?}: {exit:?} after {} bytes", receiver.bytes),
            };
            assert!(phase >= *before, "killed at {at:?}: {:?}", receiver.exit);
            *before = phase;
            let end = receiver.ended.since(Time::ZERO);
            assert!(phase != 1 || end < at + seconds(4), "killed at {at:?}, noticed at {end:?}");
        }
    }
    assert_eq!(furthest, [2, 2, 2]);
}

#[test]
fn whenever_a_receiver_is_killed_the_others_complete_and_the_sender_knows() {
    for at in (0..64).map(|step| Duration::from_millis(40 * step)) {
        let mut scenario = every_phase(2);
        scenario.start.min_receivers = 2;
        scenario.receivers[1].killed = Some(at);
        let history = scenario.run();
        let others = [0, 2].map(|index| history.receivers[index].exit);
        assert_eq!(others, [Some(Exit::Complete); 2], "killed at {at:?}");
        // Unless it was not there yet, or had already done all.
        let [admitted, succeeded] =
            [&history.admitted, &history.succeeded].map(|names| names.contains(&"r1".into()));
        let expected = if admitted && !succeeded { Exit::Partial } else { Exit::Complete };
        assert_eq!(history.sender, Some(expected), "killed at {at:?}");
        assert!(!succeeded || at > Duration::from_millis(1_900), "killed at {at:?} and successful");
        let end = history.sender_ended.since(Time::ZERO);
        assert!(end < seconds(2) + at.max(seconds(1)) + seconds(3), "killed at {at:?}, over at {end:?}");
    }
}

#[test]
fn whoever_is_stopped_for_less_than_the_peer_timeout_whenever_it_is_all_complete() {
    for at in (0..64).map(|step| Duration::from_millis(40 * step)) {
        let pause = vec![(at, at + Duration::from_millis(2_500))];
        let mut scenario = every_phase(4);
        scenario.sender_pauses.clone_from(&pause);
        all_complete(&scenario.run());
        let mut scenario = every_phase(5);
        scenario.receivers[1].pauses = pause;
        all_complete(&scenario.run());
    }
}

#[test]
fn clocks_that_count_from_other_moments_have_no_effect() {
    let mut scenario = every_phase(3);
    let usual = scenario.run();
    for (receiver, hours) in scenario.receivers.iter_mut().zip([1, 24 * 365, 0]) {
        receiver.clock = seconds(3_600 * hours);
    }
    let shifted = scenario.run();
    all_complete(&shifted);
    assert_eq!(usual.sender_ended, shifted.sender_ended);
    assert_eq!(format!("{:?}", usual.receivers), format!("{:?}", shifted.receivers));
}

#[test]
fn a_killed_receiver_costs_the_others_the_peer_timeout_at_most() {
    let mut scenario = Scenario::new(2, 3, 30_000_000);
    scenario.peer_timeout = seconds(3);
    scenario.receivers[1].killed = Some(Duration::from_millis(20));
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Complete), None, Some(Exit::Complete)])
    );
    assert_eq!(history.succeeded, ["r0", "r2"]);
    assert!(
        history.sender_error.as_deref().is_some_and(|error| error.contains("r1")),
        "{:?}",
        history.sender_error
    );
    assert!(history.sender_ended.as_nanos() < 4_500_000_000, "{}", history.sender_ended);
}

#[test]
fn a_receiver_that_dies_as_the_stream_ends_costs_the_peer_timeout_too() {
    // A block, two, seven: the end is due in a turn of its own for some of them.
    for portion in [8_192, 28_672, 61_440] {
        let mut scenario = Scenario::new(2, 2, 60 * portion);
        scenario.source.trickle = Some((portion, seconds(1)));
        scenario.receivers[1].killed = Some(Duration::from_millis(58_500));
        let history = scenario.run();
        assert!(history.sender_ended.as_nanos() < 69_000_000_000, "{portion}: {}", history.sender_ended);
    }
}

#[test]
fn an_evicted_receiver_is_told_once_it_hears_again() {
    let mut scenario = Scenario::new(3, 2, 120_000);
    scenario.source.trickle = Some((1_000, seconds(1)));
    let gone = vec![(seconds(10), seconds(25))];
    scenario.receivers[1].pauses = gone.clone();
    scenario.receivers[1].deaf = gone;
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Evicted)]));
    let told = history.receivers[1].ended.as_nanos();
    assert!((25_000_000_000..27_000_000_000).contains(&told), "{told}");
}

#[test]
fn partial_success_is_success_where_the_operator_says_so() {
    let mut scenario = Scenario::new(3, 3, 3_000_000);
    scenario.partial_ok = true;
    scenario.receivers[1].killed = Some(Duration::from_millis(5));
    assert_eq!(scenario.run().sender, Some(Exit::Complete));
}

#[test]
fn a_sender_that_lost_every_receiver_ends_with_5() {
    let mut scenario = ten_seconds(4);
    for receiver in &mut scenario.receivers {
        receiver.killed = Some(seconds(3));
    }
    let history = scenario.run();
    assert_eq!(history.sender, Some(Exit::PeerLost));
    assert!(history.sender_ended.as_nanos() < 14_000_000_000);
    // That all of them die at once is less likely than that it is the sender who is cut off.
    let error = history.sender_error.as_deref().unwrap_or_default();
    assert!(error.contains("this host's own link"), "{error}");
    // Not so where one of them has said something else.
    let mut scenario = ten_seconds(4);
    scenario.receivers[0].sink.fails_after = Some(100_000);
    for receiver in &mut scenario.receivers[1..] {
        receiver.killed = Some(seconds(3));
    }
    let history = scenario.run();
    assert_eq!(history.sender, Some(Exit::PeerLost));
    let error = history.sender_error.as_deref().unwrap_or_default();
    assert!(!error.contains("this host's own link"), "{error}");
}

#[test]
fn a_receiver_cut_off_for_less_than_the_peer_timeout_catches_up() {
    let mut scenario = ten_seconds(5);
    scenario.receivers[0].deaf = vec![(seconds(2), seconds(9))];
    scenario.receivers[0].mute = scenario.receivers[0].deaf.clone();
    all_complete(&scenario.run());
}

#[test]
fn a_receiver_cut_off_for_longer_is_evicted_and_gives_up_itself() {
    let mut scenario = ten_seconds(6);
    scenario.receivers[0].deaf = vec![(seconds(2), seconds(100))];
    scenario.receivers[0].mute = scenario.receivers[0].deaf.clone();
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::PeerLost), Some(Exit::Complete), Some(Exit::Complete)])
    );
}

#[test]
fn a_receiver_that_is_no_longer_heard_is_evicted_and_told() {
    let mut scenario = ten_seconds(7);
    scenario.receivers[2].mute = vec![(seconds(2), seconds(1_000))];
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Complete), Some(Exit::Evicted)])
    );
    assert!(history.receivers[2].error.as_deref().is_some_and(|error| error.contains("way back")));
}

#[test]
fn a_stopped_sender_evicts_nobody_when_it_wakes() {
    let mut scenario = ten_seconds(8);
    scenario.peer_timeout = seconds(90);
    scenario.sender_pauses = vec![(seconds(2), seconds(62))];
    all_complete(&scenario.run());
    // Even if its own patience is shorter than its pause: the receivers were not silent, it was deaf.
    let mut scenario = ten_seconds(9);
    scenario.sender_pauses = vec![(seconds(2), seconds(11))];
    scenario.peer_timeout = seconds(10);
    all_complete(&scenario.run());
    // And if nothing reached it meanwhile: a laptop that was suspended has not got what they said.
    let mut scenario = ten_seconds(27);
    scenario.sender_pauses = vec![(seconds(2), seconds(62))];
    for receiver in &mut scenario.receivers {
        (receiver.mute, receiver.peer_timeout) = (scenario.sender_pauses.clone(), Some(seconds(90)));
    }
    all_complete(&scenario.run());
}

#[test]
fn a_stopped_receiver_catches_up_or_is_told_that_it_was_evicted() {
    let mut scenario = ten_seconds(10);
    scenario.receivers[1].pauses = vec![(seconds(2), seconds(7))];
    all_complete(&scenario.run());
    let mut scenario = ten_seconds(11);
    scenario.receivers[1].pauses = vec![(seconds(2), seconds(14))];
    let history = scenario.run();
    assert_eq!(history.sender, Some(Exit::Partial));
    assert!(
        matches!(history.receivers[1].exit, Some(Exit::Evicted | Exit::PeerLost)),
        "{:?}",
        exits(&history)
    );
}

#[test]
fn a_failing_source_is_an_abort_for_everyone() {
    for bytes in [0, 1, 500_000] {
        let mut scenario = Scenario::new(bytes, 3, 1_000_000);
        scenario.source.fails_after = Some(bytes);
        let history = scenario.run();
        assert_eq!(exits(&history), (Some(Exit::SourceFailed), vec![Some(Exit::Aborted); 3]));
    }
}

#[test]
fn a_failing_sink_fails_its_receiver_and_nobody_else() {
    for bytes in [1, 500_000, 1_000_000] {
        let mut scenario = Scenario::new(bytes, 3, 1_000_000).with_loss(0.01);
        scenario.receivers[1].sink.fails_after = Some(bytes);
        let history = scenario.run();
        assert_eq!(
            exits(&history),
            (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::SinkFailed), Some(Exit::Complete)])
        );
    }
}

#[test]
fn when_all_fail_alike_the_sender_says_how() {
    let mut scenario = Scenario::new(12, 2, 1_000_000);
    for receiver in &mut scenario.receivers {
        receiver.sink.fails_after = Some(1_000);
    }
    assert_eq!(scenario.run().sender, Some(Exit::SinkFailed));
}

#[test]
fn a_signal_ends_the_session_everywhere_within_two_seconds() {
    for at in [0, 1, 3_000] {
        let at = Duration::from_millis(at);
        let mut scenario = ten_seconds(13).with_loss(0.05);
        scenario.sender_stopped = Some(at);
        let history = scenario.run();
        assert_eq!(history.sender, Some(Exit::Signal(15)));
        assert!(history.sender_ended.as_nanos() < at.as_nanos() as u64 + 2_000_000_000);
        if at > seconds(1) {
            assert_eq!(exits(&history).1, vec![Some(Exit::Aborted); 3]);
        }
        let mut scenario = ten_seconds(14).with_loss(0.05);
        scenario.receivers[0].stopped = Some(at);
        scenario.start.min_receivers = 2;
        let history = scenario.run();
        assert_eq!(history.receivers[0].exit, Some(Exit::Signal(15)));
        assert!(history.receivers[0].ended.as_nanos() < at.as_nanos() as u64 + 2_000_000_000);
        if at > seconds(1) {
            assert_eq!(history.sender, Some(Exit::Partial));
        }
    }
}

#[test]
fn a_sink_that_pauses_holds_the_session_without_loss_or_eviction() {
    let mut scenario = Scenario::new(15, 3, 5_000_000);
    scenario.receivers[1].sink.stalls = vec![(Duration::from_millis(10), seconds(300))];
    let history = scenario.run();
    all_complete(&history);
    assert_eq!(history.sent.repair_symbols, 0);
    let keep_alives = history.sent.datagrams - history.sent.source_symbols;
    assert!(keep_alives < 300 * 6, "{keep_alives}");
    let resumed = history.sender_ended.as_nanos();
    assert!(resumed < 300_500_000_000, "{resumed}");
}

#[test]
fn a_sink_at_work_long_after_the_end_is_waited_for() {
    let mut scenario = Scenario::new(16, 2, 100_000).with_loss(0.05);
    scenario.receivers[0].sink.closing = seconds(1_800);
    let history = scenario.run();
    all_complete(&history);
    assert!(history.sender_ended.as_nanos() >= 1_800_000_000_000);
}

#[test]
fn a_sender_killed_after_the_end_takes_nothing_from_receivers_that_have_all() {
    let mut scenario = Scenario::new(17, 2, 100_000);
    scenario.receivers[0].sink.closing = seconds(30);
    scenario.receivers[1].sink.closing = seconds(30);
    scenario.sender_killed = Some(seconds(10));
    let history = scenario.run();
    assert_eq!(exits(&history).1, vec![Some(Exit::Complete); 2]);
}

/// The way to r1 is too narrow for symbols: it ends, both sides name the remedy, and the others have all.
fn is_too_narrow_for_one(mut scenario: Scenario) {
    scenario.symbol_size = 1_428;
    scenario.receivers[1].leaf.max_size = 1_200;
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::PeerLost), Some(Exit::Complete)])
    );
    for error in [&history.receivers[1].error, &history.sender_error] {
        assert!(error.as_deref().is_some_and(|error| error.contains("--mtu")), "{error:?}");
    }
    assert!(history.sender_ended.as_nanos() < 25_000_000_000, "{}", history.sender_ended);
}

#[test]
fn a_path_too_narrow_for_symbols_ends_with_a_hint_and_does_not_hang() {
    is_too_narrow_for_one(Scenario::new(18, 3, 200_000));
}

#[test]
fn a_path_that_becomes_too_narrow_in_mid_session_ends_with_a_hint() {
    let mut scenario = Scenario::new(25, 3, 40_000_000);
    scenario.trunk.rate = Some(Rate::from_bits_per_second(100_000_000));
    scenario.receivers[1].leaf.narrow_from = seconds(1);
    is_too_narrow_for_one(scenario);
}

#[test]
fn a_pause_of_the_sender_is_forgiven_once() {
    let mut scenario = ten_seconds(19);
    scenario.sender_pauses = vec![(seconds(2), seconds(13))];
    for receiver in &mut scenario.receivers {
        receiver.killed = Some(seconds(5));
    }
    let history = scenario.run();
    assert_eq!(history.sender, Some(Exit::PeerLost));
    // It wakes at 13 s and has a right to 10 s of silence, not to twice that.
    assert!(history.sender_ended.as_nanos() < 23_500_000_000, "{}", history.sender_ended);
}

#[test]
fn a_receiver_that_hears_and_is_not_heard_is_not_admitted_and_says_why() {
    let mut scenario = ten_seconds(23);
    scenario.receivers[2].mute = vec![(seconds(0), seconds(1_000))];
    scenario.start.min_receivers = 2;
    scenario.peer_timeout = seconds(3);
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Complete), vec![Some(Exit::Complete), Some(Exit::Complete), Some(Exit::NotStarted)])
    );
    let error = history.receivers[2].error.as_deref().unwrap_or_default();
    assert!(error.contains("does not hear this host") && error.contains("firewall"), "{error}");
    // It need not wait for --start-timeout.
    assert!(history.receivers[2].ended.as_nanos() < 6_000_000_000, "{}", history.receivers[2].ended);
    // Where the session never starts, it is the same reason.
    let mut scenario = ten_seconds(24);
    scenario.receivers[2].mute = vec![(seconds(0), seconds(1_000))];
    scenario.start_timeout = Some(seconds(20));
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::NotStarted), vec![Some(Exit::NotStarted); 3]));
    let error = history.receivers[2].error.as_deref().unwrap_or_default();
    assert!(error.contains("no start within") || error.contains("does not hear this host"), "{error}");
}

#[test]
fn a_receiver_that_is_heard_and_does_not_hear_names_the_likely_causes() {
    // It heard the sender once, and then the switch forgot the group.
    let mut scenario = ten_seconds(25);
    scenario.receivers[2].deaf = vec![(Duration::from_millis(300), seconds(1_000))];
    scenario.receivers[1].launched = seconds(30);
    scenario.start_timeout = Some(seconds(60));
    scenario.start.min_receivers = 2;
    scenario.start.min_wait = seconds(1);
    let history = scenario.run();
    assert_eq!(history.receivers[2].exit, Some(Exit::NotStarted));
    let error = history.receivers[2].error.as_deref().unwrap_or_default();
    assert!(error.contains("snooping"), "{error}");
    // In mid-session it is a loss of the sender.
    let mut scenario = ten_seconds(26);
    scenario.receivers[0].deaf = vec![(seconds(2), seconds(1_000))];
    let history = scenario.run();
    for error in [&history.receivers[0].error, &history.sender_error] {
        assert!(error.as_deref().is_some_and(|error| error.contains("snooping")), "{error:?}");
    }
}

#[test]
fn a_receiver_that_hears_nothing_more_says_so_before_it_goes() {
    let mut scenario = ten_seconds(20);
    scenario.receivers[0].deaf = vec![(seconds(2), seconds(1_000))];
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::PeerLost), Some(Exit::Complete), Some(Exit::Complete)])
    );
    let error = history.sender_error.as_deref().unwrap_or_default();
    assert!(error.contains("lost in mid-session"), "{error}");
    // The others wait for its timeout, and not for the sender's after it.
    assert!(history.sender_ended.as_nanos() < 13_000_000_000, "{}", history.sender_ended);
}

#[test]
fn who_is_stopped_is_who_the_session_waited_for() {
    let mut scenario = Scenario::new(21, 3, 20_000_000);
    scenario.rate = Some(Rate::from_bits_per_second(100_000_000));
    scenario.receivers[1].pauses = vec![(Duration::from_millis(300), seconds(5))];
    let history = scenario.run();
    all_complete(&history);
    let limited = |name: &str| history.limited_by.get(name).copied().unwrap_or_default();
    assert!(limited("r1") > seconds(3), "{:?}", history.limited_by);
    assert!(limited("r0") + limited("r2") < Duration::from_millis(200), "{:?}", history.limited_by);
    assert!(limited("network") > seconds(1), "{:?}", history.limited_by);
}

#[test]
fn a_line_that_is_full_is_the_network_and_no_receiver() {
    let mut scenario = Scenario::new(22, 3, 20_000_000);
    scenario.trunk.rate = Some(Rate::from_bits_per_second(100_000_000));
    // A deep queue: what waits in it is more than the receivers' socket buffers hold.
    scenario.trunk.queue = 2 * 1024 * 1024;
    let history = scenario.run();
    all_complete(&history);
    let network = history.limited_by.get("network").copied().unwrap_or_default();
    assert!(network > seconds(1), "{:?}", history.limited_by);
}
