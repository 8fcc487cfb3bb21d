//! Receivers that are slow: sinks that pause or take nothing, and what that costs the others.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::{Counted, History, Scenario};

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
    // Nor one whose buffer is full at last, for what somebody else had held up long before.
    let mut scenario = Scenario::new(22, 2, 40_000_000);
    (scenario.max_stall, scenario.rate) = (Some(seconds(20)), Some(Rate::from_bits_per_second(10_000_000)));
    (scenario.receivers[0].buffer, scenario.receivers[1].buffer) = (100_000, 30 << 20);
    scenario.receivers[0].sink.stalls = vec![(ms(10), seconds(1))];
    scenario.receivers[1].sink.stalls = vec![(ms(10), seconds(45))];
    let history = scenario.run();
    all_complete(&history);
    assert!((8.0..20.0).contains(&limited(&history, "r1")), "{:?}", history.limited_by);
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
fn time_in_which_there_was_nothing_to_take_is_no_stall() {
    // Twice as much as anybody's buffer holds, and nothing for a minute; then again, and a sink that pauses for less than
    // it may. The sender is stopped for a while in the second case: what it did not see is nobody's either.
    for pause in [vec![], vec![(seconds(65), seconds(95))]] {
        let mut scenario = Scenario::new(19, 2, 4_000_000);
        scenario.source.trickle = Some((2_000_000, seconds(60)));
        (scenario.max_stall, scenario.peer_timeout) = (Some(seconds(20)), seconds(100));
        scenario.receivers[1].sink.per_block = ms(1);
        let end = if pause.is_empty() { 75 } else { 105 };
        scenario.receivers[1].sink.stalls = vec![(seconds(59), seconds(end))];
        scenario.sender_pauses = pause;
        all_complete(&scenario.run());
    }
}

#[test]
fn a_pause_of_the_sender_is_no_stall_of_a_sink_that_has_all_that_is_left() {
    let mut scenario = Scenario::new(25, 2, 900_000);
    (scenario.max_stall, scenario.peer_timeout) = (Some(seconds(20)), seconds(100));
    scenario.receivers[1].sink.per_block = ms(500);
    scenario.receivers[1].sink.stalls = vec![(seconds(34), seconds(80))];
    scenario.sender_pauses = vec![(seconds(35), seconds(75))];
    all_complete(&scenario.run());
}

#[test]
fn who_has_room_is_not_evicted_with_the_one_who_has_none() {
    let mut scenario = one_is_stuck(24, 5_000_000, seconds(5));
    scenario.receivers[2].buffer = 16 << 20;
    scenario.receivers[2].sink.stalls = vec![(ms(10), seconds(8))];
    assert_eq!(
        exits(&scenario.run()),
        (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Evicted), Some(Exit::Complete)])
    );
}

#[test]
fn who_misses_symbols_is_no_stuck_sink() {
    let mut scenario = on_ethernet(26, 2, 40_000_000);
    scenario.max_stall = Some(seconds(1));
    // So large that the window is what is full first.
    scenario.receivers.iter_mut().for_each(|receiver| receiver.socket_buffer = 8 << 20);
    scenario.receivers[1].deaf = vec![(ms(100), ms(3_000))];
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
fn adds_up(history: &History) {
    adds_up_but(history, Duration::ZERO);
}

/// The same but for so much of it.
#[expect(clippy::panic, reason = "a helper of tests fails the test")]
fn adds_up_but(history: &History, nobodys: Duration) {
    let all: f64 = history.limited_by.values().map(Duration::as_secs_f64).sum();
    let Some(started) = history.started else { panic!("it has not started") };
    let took = history.sender_ended.since(started).as_secs_f64() - nobodys.as_secs_f64();
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
fn a_pause_of_the_sender_is_nobodys() {
    let mut scenario = on_ethernet(27, 2, 20_000_000);
    scenario.rate = Some(Rate::from_bits_per_second(300_000_000));
    scenario.peer_timeout = seconds(100);
    scenario.sender_pauses = vec![(ms(100), seconds(20))];
    let history = scenario.run();
    all_complete(&history);
    adds_up_but(&history, seconds(20) - ms(100));
}

#[test]
fn what_is_lost_at_the_end_is_the_networks() {
    let mut scenario = on_ethernet(28, 2, 40_000).with_loss(0.3);
    scenario.receivers.iter_mut().for_each(|receiver| receiver.leaf.delay = ms(200));
    let history = scenario.run();
    all_complete(&history);
    adds_up(&history);
    assert!(limited(&history, "r0") + limited(&history, "r1") < 0.1, "{:?}", history.limited_by);
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
    let stalled = history.receivers[2].counted.stalled.as_secs_f64();
    assert!((stalled - named).abs() < 2.0, "{stalled}, {:?}", history.limited_by);
    assert!(history.receivers[0].counted.stalled < ms(100), "{:?}", history.receivers[0]);
}

#[test]
fn a_host_that_is_kept_from_its_socket_is_named_and_loses_nothing() {
    // Also with as little as Linux grants without privileges, at four of them.
    for (receivers, socket_buffer) in [(3, 1 << 20), (4, 280_000), (4, 100_000)] {
        let mut scenario = on_ethernet(15, receivers, 60_000_000);
        scenario.receivers[1].pauses = (1..40).map(|n| (ms(n * 100), ms(n * 100 + 90))).collect();
        for receiver in &mut scenario.receivers {
            receiver.socket_buffer = socket_buffer;
        }
        let history = scenario.run();
        all_complete(&history);
        adds_up(&history);
        assert_eq!(history.sent.repair_symbols, 0, "{receivers}, {socket_buffer}");
        assert!(limited(&history, "r1") > limited(&history, "network"), "{:?}", history.limited_by);
    }
}

#[test]
fn a_host_of_a_crowd_that_stops_is_waited_for_before_much_is_lost() {
    // Each reports every 4.5 ms at most; after four times that it is overdue. The line carries 1,500 datagrams meanwhile,
    // and would carry what a window of 32 MiB holds. One with a large socket buffer that has been silent for longer changes
    // nothing.
    for (silent, small) in [(false, false), (true, false), (false, true)] {
        let mut scenario = on_ethernet(21, 8, 60_000_000);
        scenario.window = 1_000;
        for receiver in &mut scenario.receivers {
            (receiver.socket_buffer, receiver.buffer) = (256 * 1024, 32 << 20);
        }
        scenario.receivers[6].pauses = vec![(ms(200), seconds(2))];
        if silent {
            scenario.receivers[7].socket_buffer = 64 << 20;
            scenario.receivers[7].pauses = vec![(ms(150), ms(2_100))];
        }
        if small {
            // Its credit is used up all the time, and it says all the time that it is there.
            scenario.receivers[0].socket_buffer = 16_000;
        }
        let history = scenario.run();
        all_complete(&history);
        let repairs = history.sent.repair_symbols;
        assert!(repairs < 3_000, "{silent}, {small}: {repairs}");
        assert!(limited(&history, "r6") > 1.3, "{silent}, {small}: {:?}", history.limited_by);
    }
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
    scenario.receivers[0].sink.closing = seconds(3);
    // So large that no report tells how far its sink is.
    scenario.receivers[0].buffer = 64 << 20;
    scenario.receivers[1].sink.per_block = ms(500);
    let history = scenario.run();
    adds_up(&history);
    assert!(limited(&history, "r1") > 3.5, "{:?}", history.limited_by);
    assert!(limited(&history, "r0") < 0.1, "{:?}", history.limited_by);
    // All that was left lay there for its sink.
    assert!(history.receivers[1].counted.stalled > seconds(3), "{:?}", history.receivers[1]);
}

#[test]
fn who_fills_the_window_because_of_losses_is_the_network() {
    // The sender's, and its own.
    for (window, buffer) in [(16, 1 << 20), (256, 16 * 1_472 * 32)] {
        let mut scenario = on_ethernet(23, 3, 20_000_000);
        scenario.window = window;
        scenario.receivers[1].buffer = buffer;
        scenario.receivers[1].leaf.loss = mcast::sim::Loss::Independent(0.5);
        let history = scenario.run();
        all_complete(&history);
        adds_up(&history);
        let named = limited(&history, "r1");
        assert!(named < limited(&history, "network") / 10.0, "{window}: {:?}", history.limited_by);
    }
}

#[test]
fn what_is_counted_of_a_receiver_is_what_it_has_counted_however_it_ends() {
    // In a crowd, whoever is kept from its socket loses what does not fit there.
    let mut scenario = Scenario::new(20, 6, 3_000_000).with_loss(0.01);
    for receiver in &mut scenario.receivers[1..4] {
        receiver.socket_buffer = 60_000;
        receiver.pauses = (1..10).map(|n| (ms(n * 10), ms(n * 10 + 9))).collect();
        receiver.sink.per_block = ms(2);
    }
    scenario.receivers[2].sink.fails_after = Some(1_000_000);
    scenario.receivers[3].sink.stalls = vec![(ms(300), seconds(1_000))];
    scenario.max_stall = Some(seconds(5));
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (
            Some(Exit::Partial),
            vec![
                Some(Exit::Complete),
                Some(Exit::Complete),
                Some(Exit::SinkFailed),
                Some(Exit::Evicted),
                Some(Exit::Complete),
                Some(Exit::Complete)
            ]
        )
    );
    let told = |name: &str| history.counted.get(name).copied().unwrap_or_default();
    // As on the wire.
    let in_ms = |time: Duration| ms(time.as_millis() as u64);
    for (receiver, name) in history.receivers.iter().zip(["r0", "r1", "r2"]) {
        let counted = Counted { stalled: in_ms(receiver.counted.stalled), ..receiver.counted };
        assert_eq!(told(name), counted, "{name}");
        assert!(receiver.counted.lost_symbols > 0 && receiver.counted.nacks > 0, "{name}: {receiver:?}");
    }
    for name in ["r1", "r2", "r3"] {
        let counted = told(name);
        assert!(counted.stalled > ms(100) && counted.bytes > 0 && counted.nacks > 0, "{name}: {counted:?}");
    }
    // As much as its last report said.
    let (evicted, told_of_it) = (history.receivers[3].counted, told("r3"));
    assert_eq!(told_of_it.bytes, evicted.bytes);
    assert!((1..=evicted.lost_symbols).contains(&told_of_it.lost_symbols), "{evicted:?}, {told_of_it:?}");
    assert!(evicted.stalled - told_of_it.stalled <= seconds(1), "{evicted:?}, {told_of_it:?}");
    for name in ["r1", "r2", "r3"] {
        let Counted { dropped, lost_symbols, .. } = told(name);
        assert!(dropped > 0 && lost_symbols > dropped, "{name}: {dropped} of {lost_symbols}");
    }
    assert_eq!(told("r0").dropped, 0);
}

#[test]
fn what_reports_did_not_bring_the_confirmation_does() {
    let mut scenario = Scenario::new(29, 6, 3_000_000).with_loss(0.01);
    for receiver in &mut scenario.receivers {
        receiver.leaf_back.loss = mcast::sim::Loss::Independent(0.5);
    }
    for receiver in &mut scenario.receivers[1..3] {
        receiver.socket_buffer = 60_000;
        receiver.pauses = (1..10).map(|n| (ms(n * 10), ms(n * 10 + 9))).collect();
    }
    let history = scenario.run();
    all_complete(&history);
    for (index, receiver) in history.receivers.iter().enumerate() {
        let told = history.counted.get(&format!("r{index}")).copied().unwrap_or_default();
        assert_eq!(told, Counted { stalled: told.stalled, ..receiver.counted }, "r{index}");
        assert!(told.nacks > 0 && told.lost_symbols > 0, "r{index}: {told:?}");
        assert_eq!(told.dropped > 0, (1..3).contains(&index), "r{index}: {told:?}");
    }
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
