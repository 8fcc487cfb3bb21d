//! Receivers that are slow: sinks that pause or take nothing, and what that costs the others.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::{History, Scenario};

use crate::{all_complete, exits};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Three receivers; the sink of r1 takes nothing from the tenth millisecond on.
fn one_is_stuck(seed: u64, bytes: u64, max_stall: Duration) -> Scenario {
    let mut scenario = Scenario::new(seed, 3, bytes);
    scenario.receivers[1].sink.stalls = vec![(ms(10), seconds(100_000))];
    scenario.max_stall = Some(max_stall);
    scenario
}

#[test]
fn a_sink_that_takes_nothing_for_max_stall_is_evicted_and_told() {
    let mut scenario = one_is_stuck(1, 5_000_000, seconds(30));
    scenario.receivers[2].leaf.loss = mcast::sim::Loss::Independent(0.01);
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Evicted), Some(Exit::Complete)])
    );
    for error in [&history.receivers[1].error, &history.sender_error] {
        assert!(error.as_deref().is_some_and(|error| error.contains("--max-stall")), "{error:?}");
    }
    let told = history.receivers[1].ended.as_nanos();
    assert!((30_000_000_000..30_200_000_000).contains(&told), "{told}");
    assert!(history.sender_ended.as_nanos() < 30_500_000_000, "{}", history.sender_ended);
}

#[test]
fn two_sinks_that_take_nothing_are_evicted_at_the_same_time() {
    let mut scenario = one_is_stuck(2, 5_000_000, seconds(30));
    scenario.receivers[0].sink = scenario.receivers[1].sink.clone();
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Evicted), Some(Exit::Evicted), Some(Exit::Complete)])
    );
    assert!(history.sender_ended.as_nanos() < 30_500_000_000, "{}", history.sender_ended);
}

#[test]
fn who_holds_up_nobody_is_not_evicted() {
    // A slow sink takes a little all the time; one with room takes nothing, and nobody waits for it.
    let mut scenario = Scenario::new(3, 2, 5_000_000);
    scenario.max_stall = Some(seconds(2));
    scenario.receivers[0].sink.per_block = ms(100);
    scenario.receivers[1].sink.stalls = vec![(ms(10), seconds(30))];
    scenario.receivers[1].buffer = 16 << 20;
    all_complete(&scenario.run());
    // Nor does anybody where the source has nothing to give.
    let mut scenario = Scenario::new(4, 2, 200_000);
    scenario.max_stall = Some(seconds(2));
    scenario.source.trickle = Some((100_000, seconds(60)));
    scenario.receivers[1].sink.stalls = vec![(ms(1), seconds(30))];
    all_complete(&scenario.run());
}

#[test]
fn a_sink_that_pauses_for_less_than_max_stall_is_waited_for_each_time() {
    let mut scenario = Scenario::new(5, 2, 10_000_000);
    scenario.max_stall = Some(seconds(10));
    scenario.receivers[1].sink.per_block = ms(10);
    scenario.receivers[1].sink.stalls =
        vec![(ms(10), seconds(9)), (seconds(10), seconds(19)), (seconds(20), seconds(29))];
    all_complete(&scenario.run());
}

#[test]
fn a_stream_that_fits_into_every_buffer_does_not_wait_for_a_stuck_sink_either() {
    let history = one_is_stuck(6, 900_000, seconds(5)).run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Evicted), Some(Exit::Complete)])
    );
    assert!(history.sender_ended.as_nanos() < 6_000_000_000, "{}", history.sender_ended);
}

#[test]
fn a_sink_at_work_after_the_last_byte_is_not_stuck() {
    let mut scenario = Scenario::new(7, 2, 900_000);
    scenario.max_stall = Some(seconds(5));
    scenario.receivers[0].sink.closing = seconds(600);
    all_complete(&scenario.run());
}

#[test]
fn a_sender_that_was_stopped_does_not_take_its_own_pause_for_a_sinks() {
    let mut scenario = one_is_stuck(8, 5_000_000, seconds(30));
    scenario.receivers[1].sink.stalls = vec![(ms(10), seconds(62))];
    scenario.sender_pauses = vec![(seconds(20), seconds(60))];
    scenario.peer_timeout = seconds(100);
    all_complete(&scenario.run());
}

#[test]
fn one_receiver_alone_can_be_evicted_too() {
    let mut scenario = one_is_stuck(9, 5_000_000, seconds(30));
    scenario.receivers = vec![scenario.receivers[1].clone()];
    scenario.start.min_receivers = 1;
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::PeerLost), vec![Some(Exit::Evicted)]));
}

/// Frames of full symbols at 1 Gbit/s: what an Ethernet carries.
fn on_ethernet(seed: u64, receivers: usize, bytes: u64) -> Scenario {
    let mut scenario = Scenario::new(seed, receivers, bytes);
    scenario.symbol_size = 1_428;
    scenario.block_symbols = 32;
    for receiver in &mut scenario.receivers {
        receiver.socket_buffer = 1 << 20;
    }
    scenario
}

#[test]
fn while_a_sink_pauses_there_are_only_signs_of_life_and_then_full_speed_within_100_ms() {
    for loss in [0.0, 0.01] {
        let mut scenario = on_ethernet(10, 3, 26_000_000).with_loss(loss);
        scenario.receivers[1].sink.stalls = vec![(ms(10), seconds(300))];
        let history = scenario.run();
        all_complete(&history);
        if loss == 0.0 {
            assert_eq!(history.sent.repair_symbols, 0);
        }
        // Keep-alives four times a second and an announce; two dozen for the data itself.
        let control = history.sent.datagrams - history.sent.source_symbols - history.sent.repair_symbols;
        assert!(control < 300 * 5 + 100, "{control}");
        // A sign of life a second from each; those for 18,000 datagrams come on top.
        let reports: u64 = history.feedback.values().sum();
        assert!(reports < 3 * 300 + 600, "{:?}", history.feedback);
        // 25 MB were left to send: 213 ms of a full line.
        for receiver in &history.receivers {
            let last = receiver.last_byte.as_nanos();
            assert!(last < 300_000_000_000 + 213_000_000 + 100_000_000, "{loss}: {last}");
        }
    }
}

#[test]
fn who_returns_slowly_lets_the_others_go_on_as_soon_as_it_takes_something() {
    for buffer in [1 << 20, 64 << 20] {
        let mut scenario = on_ethernet(11, 2, 80_000_000);
        scenario.receivers[1].buffer = buffer;
        let window = buffer as u64 / (1_472 * 32);
        let left = 5;
        scenario.source.bytes = (window + left) * 1_428 * 32;
        scenario.receivers[1].sink.stalls = vec![(ms(1), seconds(300))];
        scenario.receivers[1].sink.per_block = ms(50);
        let history = scenario.run();
        all_complete(&history);
        // It has made room for the last block when it has taken as many as were left.
        let last = history.receivers[0].last_byte.as_nanos();
        assert!(last < 300_000_000_000 + left * 50_000_000 + 100_000_000, "{buffer}: {last}");
    }
}

/// Seconds for which this one held up the session, as the sender's report says.
fn limited(history: &History, name: &str) -> f64 {
    history.limited_by.get(name).copied().unwrap_or_default().as_secs_f64()
}

/// Every moment of the session is somebody's.
#[expect(clippy::panic, reason = "a helper of tests fails the test")]
fn adds_up(history: &History) {
    let all: f64 = history.limited_by.values().map(Duration::as_secs_f64).sum();
    let Some(started) = history.started else { panic!("it has not started") };
    let took = history.sender_ended.since(started).as_secs_f64();
    assert!((all - took).abs() <= 0.02 + took / 100.0, "{took}: {:?}", history.limited_by);
}

#[test]
fn a_source_that_trickles_is_what_limits() {
    let mut scenario = Scenario::new(12, 3, 100_000);
    scenario.source.trickle = Some((1_000, ms(100)));
    let history = scenario.run();
    adds_up(&history);
    assert!(limited(&history, "source") > 9.8, "{:?}", history.limited_by);
}

#[test]
fn a_rate_that_the_operator_gave_is_the_network() {
    let mut scenario = on_ethernet(13, 3, 5_000_000);
    scenario.rate = Some(Rate::from_bits_per_second(10_000_000));
    let history = scenario.run();
    adds_up(&history);
    assert!(limited(&history, "network") > 3.9, "{:?}", history.limited_by);
}

#[test]
fn a_sink_that_is_slow_is_named_and_what_it_says_agrees() {
    let mut scenario = on_ethernet(14, 3, 20_000_000);
    scenario.receivers[2].sink.per_block = ms(50);
    let history = scenario.run();
    adds_up(&history);
    // 438 blocks, of which 22 fit into its buffer.
    let named = limited(&history, "r2");
    assert!(named > 20.0 && limited(&history, "network") < 1.0, "{:?}", history.limited_by);
    let stalled = history.receivers[2].stalled.as_secs_f64();
    assert!((stalled - named).abs() < 2.0, "{stalled}, {:?}", history.limited_by);
    assert!(history.receivers[0].stalled < ms(100), "{:?}", history.receivers[0].stalled);
}

#[test]
fn a_host_that_is_kept_from_its_socket_is_named_and_loses_nothing() {
    let mut scenario = on_ethernet(15, 3, 60_000_000);
    scenario.receivers[1].pauses = (1..40).map(|n| (ms(n * 100), ms(n * 100 + 90))).collect();
    let history = scenario.run();
    all_complete(&history);
    adds_up(&history);
    assert_eq!(history.sent.repair_symbols, 0);
    assert!(limited(&history, "r1") > limited(&history, "network"), "{:?}", history.limited_by);
}

#[test]
fn a_dead_receiver_is_what_limits_whichever_memory_is_full_first() {
    for window in [4, 64, 4_096] {
        let mut scenario = on_ethernet(16, 3, 60_000_000);
        scenario.window = window;
        scenario.receivers[1].killed = Some(ms(50));
        let history = scenario.run();
        adds_up(&history);
        let named = limited(&history, "r1");
        assert!((9.0..10.5).contains(&named), "{window}: {:?}", history.limited_by);
    }
}

#[test]
fn who_finishes_last_is_who_is_waited_for() {
    let mut scenario = on_ethernet(17, 3, 400_000);
    scenario.receivers[0].sink.closing = seconds(1);
    scenario.receivers[1].sink.per_block = ms(500);
    let history = scenario.run();
    adds_up(&history);
    assert!(limited(&history, "r1") > 3.5, "{:?}", history.limited_by);
    assert!(limited(&history, "r0") < 0.1, "{:?}", history.limited_by);
}

#[test]
fn a_large_buffer_lets_the_others_run_ahead_whatever_the_senders_window_is() {
    let mut scenario = on_ethernet(18, 3, 50_000_000).with_loss(0.01);
    scenario.window = 8;
    scenario.receivers[1].sink.stalls = vec![(ms(10), seconds(300))];
    scenario.receivers[1].buffer = 60_000_000;
    let history = scenario.run();
    all_complete(&history);
    assert!(history.receivers[0].last_byte.as_nanos() < 2_000_000_000, "{}", history.receivers[0].last_byte);
}
