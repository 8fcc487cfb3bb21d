//! The rate finds what the slowest path carries, and keeps what the operator allows.

use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{LinkConfig, Loss, PlayedBack, Starvation, seeds};
use mcast::time::Time;

use crate::all_complete;
use crate::ports::{DEEP, SHALLOW, lan, mbit, ms, overflow, payload, port, share};

/// [`settles_with`] the first seed.
fn settles(rate: Rate, queue: usize, noise: f64, own: f64, least: f64) {
    settles_with(1, rate, queue, noise, own, least);
}

/// The first receiver's port is slower than the sender's, and it loses `own` besides; the others lose `noise`. After
/// the first second it gets `least` of what its port carries, and its queue overflows for less than a fiftieth.
fn settles_with(seed: u64, rate: Rate, queue: usize, noise: f64, own: f64, least: f64) {
    // Four seconds of it.
    let bytes = (payload(rate) * 4.0) as u64;
    let mut scenario = lan(seed, 3, bytes).with_loss(noise);
    scenario.receivers[0].leaf = port(rate, queue);
    scenario.receivers[0].leaf.loss = Loss::Independent(own);
    let history = scenario.run();
    all_complete(&history);
    let (from, to) = (ms(1_000), ms(3_900));
    let (share, lost) = (share(&history, 0, rate, from, to), overflow(&history, 0, from, to));
    let what = format!("{seed}: {rate}, queue of {queue}, noise {noise}, own {own}");
    assert!(share >= least, "{what}: {share:.3} of what the port carries");
    assert!(lost < 0.02, "{what}: {lost:.4} lost");
    assert!(overflow(&history, 0, ms(0), from) < 0.2, "{what}: too much is lost at first");
}

#[test]
fn a_slower_port_with_a_shallow_queue_sets_the_pace() {
    settles(mbit(100), SHALLOW, 0.0, 0.0, 0.9);
    settles(mbit(200), SHALLOW, 0.0, 0.0, 0.9);
}

#[test]
fn a_slower_port_with_a_deep_queue_sets_the_pace() {
    settles(mbit(100), DEEP, 0.0, 0.0, 0.9);
    settles(mbit(200), DEEP, 0.0, 0.0, 0.9);
}

/// The port lets 16 KiB through at once and seems to be fast until that is used up. The sender sends less than its rate
/// allows, so that the rate goes on being doubled while the queue fills.
#[test]
fn late_hosts_find_a_slower_port_before_its_deep_queue_is_full() {
    let late = (ms(0), ms(3));
    for megabits in [100, 200] {
        for seed in 100..107 {
            let rate = mbit(megabits);
            let mut scenario = lan(seed, 3, (payload(rate) * 1.2) as u64);
            scenario.receivers[0].leaf = LinkConfig { burst: 16 * 1024, ..port(rate, DEEP) };
            scenario.starvation =
                Some(Starvation { every: ms(1), length: ms(10_000), late, until: ms(10_000) });
            let history = scenario.run();
            all_complete(&history);
            let lost = overflow(&history, 0, ms(0), ms(1_000));
            assert!(lost <= 0.005, "{rate}, seed {seed}: {lost:.4} of the first second is lost");
        }
    }
}

#[test]
fn a_port_whose_queue_holds_a_datagram_or_two_is_slow_and_no_dead_end() {
    for (megabits, queue, most) in
        [(10, 1_600, 1.5), (10, 4_096, 1.2), (100, 1_600, 1.35), (100, 4_096, 1.15)]
    {
        for receivers in [1, 32] {
            let rate = mbit(megabits);
            let seconds = 3.0;
            let mut scenario = lan(8, receivers, (payload(rate) * seconds) as u64);
            scenario.receivers[0].leaf = port(rate, queue);
            let history = scenario.run();
            all_complete(&history);
            let took = history.sender_ended.since(history.started.expect("it has")).as_secs_f64();
            let what = format!("{rate}, queue of {queue}, {receivers} receivers");
            assert!(took < seconds * most, "{what}: {took:.2} s, {seconds} at least");
        }
    }
}

#[test]
fn losses_of_others_do_not_slow_down_a_slower_port() {
    for (queue, noise) in [(SHALLOW, 0.01), (SHALLOW, 0.05), (DEEP, 0.05)] {
        settles(mbit(100), queue, noise, 0.0, 0.9);
    }
}

#[test]
fn losses_of_its_own_do_not_slow_down_a_slower_port() {
    for (queue, own) in [(SHALLOW, 0.01), (SHALLOW, 0.05), (DEEP, 0.05)] {
        for seed in 1..=4 {
            settles_with(seed, mbit(100), queue, 0.01, own, 0.9 * (1.0 - own));
        }
    }
}

#[test]
fn losses_on_a_line_that_is_full_do_not_slow_it_down() {
    for (receivers, loss, least) in [(3, 0.01, 0.942), (3, 0.05, 0.875), (8, 0.05, 0.88)] {
        let rate = mbit(300);
        let mut scenario = lan(2, receivers, (payload(rate) * 2.0) as u64).with_loss(loss);
        scenario.trunk.rate = Some(rate);
        let history = scenario.run();
        all_complete(&history);
        let took = history.sender_ended.since(history.started.expect("it has"));
        let share = scenario.source.bytes as f64 / took.as_secs_f64() / payload(rate);
        assert!(share >= least, "{receivers} receivers, {loss}: {share:.3} of the line");
    }
}

#[test]
fn the_rate_comes_back_within_two_seconds_when_the_limit_goes_away() {
    for queue in [SHALLOW, DEEP] {
        let mut scenario = lan(3, 2, 160_000_000);
        scenario.receivers[0].leaf = port(mbit(100), queue);
        scenario.receivers[0].leaf.rate_changes = vec![(ms(2_000), None)];
        let history = scenario.run();
        all_complete(&history);
        let before = share(&history, 0, mbit(100), ms(1_000), ms(2_000));
        assert!(before >= 0.9, "queue of {queue}: {before:.3}");
        let full =
            |tenth: &u64| share(&history, 0, mbit(1_000), ms(tenth * 100), ms(tenth * 100 + 100)) >= 0.9;
        let back = (20..40).find(full);
        assert!(back.is_some_and(|tenth| tenth < 39), "queue of {queue}: the line is not full again");
    }
}

#[test]
fn a_port_that_becomes_slower_sets_the_pace_from_then_on() {
    for queue in [SHALLOW, DEEP] {
        let mut scenario = lan(4, 2, 90_000_000);
        scenario.trunk.rate = Some(mbit(500));
        scenario.receivers[0].leaf = LinkConfig { queue, ..LinkConfig::default() };
        scenario.receivers[0].leaf.rate_changes = vec![(ms(1_000), Some(mbit(100)))];
        let history = scenario.run();
        all_complete(&history);
        let share = share(&history, 0, mbit(100), ms(2_500), ms(3_500));
        let lost = overflow(&history, 0, ms(2_500), ms(3_500));
        assert!(share >= 0.9 && lost < 0.02, "queue of {queue}: {share:.3}, {lost:.4} lost");
    }
}

#[test]
fn hosts_without_time_are_no_slow_path_and_fill_the_line_once_they_have_it() {
    // Spells in which sender and receivers alike wake 5 to 50 ms late and then run for a millisecond, on a fast clean path.
    for seed in seeds(5) {
        let rate = mbit(10_000);
        let mut scenario = lan(seed, 3, (payload(rate) * 0.4) as u64);
        scenario.trunk.rate = Some(rate);
        scenario.window = 67;
        scenario.receivers.iter_mut().for_each(|receiver| receiver.socket_buffer = 8 << 20);
        let (every, length, late) = (ms(50), ms(500), (ms(5), ms(50)));
        scenario.starvation = Some(Starvation { every, length, late, until: ms(1_500) });
        let history = scenario.run();
        all_complete(&history);
        assert_eq!(history.sent.repair_symbols, 0, "seed {seed}: nothing is lost");
        // The line takes 0.4 s, should nothing have been sent before.
        let ended = history.sender_ended.since(Time::ZERO);
        assert!(ended > ms(1_500) && ended < ms(2_200), "seed {seed}: it ended after {ended:?}");
    }
}

#[test]
fn how_late_hosts_look_at_what_has_arrived_says_nothing_of_the_path() {
    // Long spells in which everybody wakes 60 to 100 ms late: later than any queue that is not full, and so is what is
    // read then, at the receivers and at the sender. The rate is an operator's, so the sender never waits for its own queue.
    for seed in seeds(2) {
        let rate = mbit(300);
        let mut scenario = lan(seed, 2, (payload(rate) * 1.5) as u64);
        scenario.rate = Some(rate);
        let (every, length, late) = (ms(50), ms(1_500), (ms(60), ms(100)));
        scenario.starvation = Some(Starvation { every, length, late, until: ms(4_000) });
        // Farther than a host's slice of time, so that what comes back waits for the next one.
        scenario.receivers.iter_mut().for_each(|receiver| receiver.leaf.delay = ms(2));
        let history = scenario.run();
        all_complete(&history);
        // Nothing limits but the rate, and at it the stream takes 1.5 s, should nothing have been sent before.
        let ended = history.sender_ended.since(Time::ZERO);
        assert!(ended < ms(4_000 + 1_500 + 100), "seed {seed}: it ended after {ended:?}");
    }
}

#[test]
fn a_port_that_becomes_a_little_faster_is_used() {
    let cases = [(100, 140, 2), (150, 200, 6), (100, 200, 2), (60, 100, 2)];
    for (before, after, seeds) in cases {
        for (queue, seed) in
            [SHALLOW, DEEP].into_iter().flat_map(|queue| (8..8 + seeds).map(move |seed| (queue, seed)))
        {
            let (before, after) = (mbit(before), mbit(after));
            let mut scenario = lan(seed, 2, (payload(after) * 4.5) as u64);
            scenario.receivers[0].leaf = port(before, queue);
            scenario.receivers[0].leaf.rate_changes = vec![(ms(1_500), Some(after))];
            let history = scenario.run();
            all_complete(&history);
            let share = share(&history, 0, after, ms(3_500), ms(4_500));
            let lost = overflow(&history, 0, ms(1_500), ms(4_500));
            // The rate goes beyond the new capacity once to find it, which a deep queue says late.
            let most_lost = if queue == SHALLOW { 0.025 } else { 0.08 };
            assert!(
                (0.9..1.1).contains(&share) && lost < most_lost,
                "{before} to {after}, queue of {queue}, {seed}: {share:.3}, {lost:.4} lost"
            );
        }
    }
}

#[test]
fn an_evicted_receiver_limits_no_more() {
    let mut scenario = lan(5, 2, 30_000_000);
    scenario.trunk.rate = Some(mbit(300));
    scenario.receivers[0].leaf = port(mbit(20), SHALLOW);
    (scenario.receivers[0].killed, scenario.peer_timeout) = (Some(ms(1_000)), ms(2_000));
    let history = scenario.run();
    assert_eq!(history.succeeded, ["r1"]);
    // 27 MB were left at three seconds: 0.8 s on the line.
    assert!(history.sender_ended.as_nanos() < 5_000_000_000, "{}", history.sender_ended);
}

#[test]
fn what_a_receiver_said_of_the_path_is_gone_with_it() {
    // It leaves when its path has turned out to be too slow, and before anybody knows how slow that is.
    for at in [6, 10, 14, 20] {
        let mut scenario = lan(9, 2, 100_000_000);
        scenario.receivers[0].leaf = port(mbit(50), DEEP);
        scenario.receivers[0].stopped = Some(ms(at));
        let history = scenario.run();
        assert_eq!(history.succeeded, ["r1"]);
        // 0.85 s on the line.
        assert!(history.sender_ended.as_nanos() < 1_500_000_000, "{at}: {}", history.sender_ended);
    }
}

#[test]
fn who_leaves_again_and_again_does_not_keep_the_rate_from_being_found() {
    let scenario = || {
        let mut scenario = lan(9, 2, 100_000_000);
        scenario.receivers[0].stopped = Some(ms(6));
        scenario
    };
    let mut recording = scenario();
    recording.records = true;
    let recorded = recording.run().recorded;
    let leave = recorded.iter().rfind(|it| it.host == 1).expect("it has left");
    let mut attacked = scenario();
    attacked.played_back = (8..12_000)
        .map(|at| PlayedBack { at: ms(at) / 4, to: 0, from: Some(1), bytes: leave.bytes.clone() })
        .collect();
    let history = attacked.run();
    assert_eq!(history.succeeded, ["r1"]);
    // 0.85 s on the line.
    assert!(history.sender_ended.as_nanos() < 1_500_000_000, "{}", history.sender_ended);
}

/// Two sessions go through one port; each gets a quarter of it at least while both run.
fn both_progress(rate: Rate, queue: usize, later: Duration) {
    let bytes = (payload(rate) * 4.0) as u64;
    let mut first = lan(6, 1, bytes + (payload(rate) * later.as_secs_f64()) as u64);
    first.backbone = Some(port(rate, queue));
    let mut second = lan(7, 1, bytes);
    second.receivers[0].launched = later;
    let both = first.run_beside(&[second]);
    let ended = both[0].sender_ended.min(both[1].sender_ended).since(Time::ZERO) - ms(100);
    // The newcomer has a second to find its place.
    let from = later + ms(1_000);
    let what = format!("{rate}, queue of {queue}, {later:?} later");
    let shares = [0, 1].map(|session: usize| share(&both[session], 0, rate, from, ended));
    assert!(ended > from + ms(2_000), "{what}: over after {ended:?}");
    assert!(shares.iter().all(|share| *share >= 0.25), "{what}: {shares:.3?}");
    assert!(shares.iter().sum::<f64>() >= 0.85, "{what}: {shares:.3?}");
    both.iter().for_each(all_complete);
}

#[test]
fn two_sessions_through_one_port_both_progress() {
    for rate in [mbit(100), mbit(200)] {
        for queue in [SHALLOW, DEEP] {
            for later in [ms(0), ms(1_500)] {
                both_progress(rate, queue, later);
            }
        }
    }
}
