//! The start window, over the network.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::sim::{History, ReceiverPlan, Scenario, seeds};
use mcast::time::Time;
use mcast::wire::Kind;

use crate::{all_complete, exits};

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Fails unless the session started at one of these nanoseconds.
fn must_have_started(history: &History, nanos: std::ops::Range<u64>) {
    let started = history.started;
    assert!(started.is_some_and(|at| nanos.contains(&at.as_nanos())), "{started:?}");
}

#[test]
fn the_session_starts_when_the_last_awaited_receiver_has_joined() {
    let mut scenario = Scenario::new(1, 3, 10_000);
    scenario.receivers[2].launched = seconds(7);
    let history = scenario.run();
    all_complete(&history);
    must_have_started(&history, 7_000_000_000..7_600_000_000);
}

#[test]
fn the_minimum_wait_lets_one_more_join() {
    let mut scenario = Scenario::new(2, 2, 10_000);
    scenario.start.min_receivers = 1;
    scenario.start.min_wait = seconds(5);
    scenario.receivers[1].launched = Duration::from_millis(4_400);
    all_complete(&scenario.run());
}

#[test]
fn too_few_receivers_end_with_4_on_both_sides() {
    let mut scenario = Scenario::new(4, 2, 10_000);
    scenario.start.min_receivers = 3;
    scenario.start_timeout = Some(seconds(30));
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::NotStarted), vec![Some(Exit::NotStarted); 2]));
    assert!(history.sender_error.as_deref().is_some_and(|error| error.contains("2 of 3")));
}

#[test]
fn a_missing_name_holds_the_start_and_is_told() {
    let mut scenario = Scenario::new(5, 2, 10_000);
    scenario.start.require = vec!["r1".into(), "db9".into()];
    scenario.start.max_wait = Some(seconds(5));
    scenario.start_timeout = Some(seconds(30));
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::NotStarted), vec![Some(Exit::NotStarted); 2]));
    let error = history.sender_error.expect("it has one");
    assert!(error.contains("missing: db9; joined: r0, r1"), "{error}");
}

#[test]
fn session_without_an_expected_receiver_ends_with_3_and_names_it() {
    for partial_ok in [false, true] {
        let mut scenario = Scenario::new(31, 2, 10_000);
        scenario.start.expect = vec!["files".into(), "r0".into(), "r1".into()];
        scenario.start.max_wait = Some(seconds(20));
        scenario.partial_ok = partial_ok;
        let history = scenario.run();
        let exit = if partial_ok { Exit::Complete } else { Exit::Partial };
        assert_eq!(exits(&history), (Some(exit), vec![Some(Exit::Complete); 2]));
        let error = history.sender_error.expect("it has one");
        assert_eq!(
            error,
            "started with 2 of 3 receivers after --max-wait (20 s); missing: files; the stream is complete at r0, r1"
        );
    }
}

#[test]
fn expected_receivers_are_waited_for_and_end_with_0() {
    let mut scenario = Scenario::new(32, 3, 10_000);
    scenario.start.min_receivers = 1;
    scenario.start.expect = vec!["r0".into(), "r1".into(), "r2".into()];
    scenario.start.max_wait = Some(seconds(20));
    scenario.receivers[2].launched = seconds(7);
    let history = scenario.run();
    all_complete(&history);
    must_have_started(&history, 7_000_000_000..7_600_000_000);
}

#[test]
fn session_with_fewer_than_the_minimum_ends_with_3_and_both_numbers() {
    let mut scenario = Scenario::new(33, 2, 10_000);
    scenario.start.min_receivers = 3;
    scenario.start.max_wait = Some(seconds(20));
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::Partial), vec![Some(Exit::Complete); 2]));
    must_have_started(&history, 20_000_000_000..20_100_000_000);
    let error = history.sender_error.expect("it has one");
    assert!(error.contains("started with 2 of 3 receivers") && !error.contains("missing"), "{error}");
}

#[test]
fn other_receivers_do_not_make_up_for_an_expected_one() {
    let mut scenario = Scenario::new(34, 3, 10_000);
    scenario.start.expect = vec!["files".into()];
    scenario.start.max_wait = Some(seconds(20));
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::Partial), vec![Some(Exit::Complete); 3]));
    let error = history.sender_error.expect("it has one");
    assert!(error.contains("started with 3 receivers after --max-wait (20 s); missing: files"), "{error}");
}

#[test]
fn expected_receiver_that_comes_after_the_start_was_missing_all_the_same() {
    let mut scenario = Scenario::new(35, 2, 10_000);
    scenario.start.min_receivers = 1;
    scenario.start.expect = vec!["r0".into(), "r1".into()];
    scenario.start.max_wait = Some(seconds(5));
    scenario.source.trickle = Some((500, seconds(1)));
    scenario.receivers[1].launched = seconds(8);
    let history = scenario.run();
    let ends = vec![Some(Exit::Complete), Some(Exit::NotStarted)];
    assert_eq!(exits(&history), (Some(Exit::Partial), ends));
    let error = history.sender_error.expect("it has one");
    assert!(error.contains("missing: r1 (came too late); the stream is complete at r0"), "{error}");
}

#[test]
fn missing_and_failed_receivers_are_told_in_one_message() {
    let mut scenario = Scenario::new(36, 3, 100_000);
    scenario.start.expect = vec!["files".into()];
    scenario.start.max_wait = Some(seconds(5));
    scenario.source.trickle = Some((1_000, Duration::from_millis(100)));
    scenario.receivers[1].killed = Some(seconds(8));
    let history = scenario.run();
    assert_eq!(history.sender, Some(Exit::Partial));
    let error = history.sender_error.expect("it has one");
    for part in ["missing: files", "1 of 3 receivers failed: r1: evicted", "complete at r0, r2"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn without_a_maximum_wait_an_expected_receiver_holds_the_start_until_its_end_with_4() {
    let mut scenario = Scenario::new(37, 2, 10_000);
    scenario.start.expect = vec!["files".into(), "r0".into()];
    scenario.start_timeout = Some(seconds(30));
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::NotStarted), vec![Some(Exit::NotStarted); 2]));
    let error = history.sender_error.expect("it has one");
    assert!(error.contains("missing: files"), "{error}");
}

/// The sender gives up last, by a few milliseconds or by seconds.
#[test]
fn receivers_that_gave_up_before_the_sender_are_counted_and_named() {
    for earlier in [Duration::from_millis(5), seconds(20)] {
        let mut scenario = Scenario::new(38, 2, 10_000);
        scenario.start.min_receivers = 3;
        scenario.start_timeout = Some(seconds(30));
        for receiver in &mut scenario.receivers {
            receiver.start_timeout = Some(seconds(30) - earlier);
        }
        let history = scenario.run();
        assert_eq!(exits(&history), (Some(Exit::NotStarted), vec![Some(Exit::NotStarted); 2]));
        let error = history.sender_error.expect("it has one");
        assert!(error.contains("2 of 3 receivers had joined"), "{error}");
        assert!(error.contains("r1 joined after 0 ms and left after"), "{error}");
        assert!(error.contains("(its --start-timeout)") && !error.contains("firewall"), "{error}");
        let own = history.receivers[0].error.as_deref().expect("it has one");
        assert!(own.contains("joined the session of ") && own.contains("did not start within"), "{own}");
    }
}

#[test]
fn without_a_sender_receivers_end_with_4() {
    let mut scenario = Scenario::new(6, 2, 10_000);
    scenario.sender_killed = Some(Duration::ZERO);
    scenario.start_timeout = Some(seconds(60));
    let history = scenario.run();
    assert_eq!(exits(&history).1, vec![Some(Exit::NotStarted); 2]);
}

#[test]
fn a_receiver_that_comes_late_is_told() {
    let mut scenario = Scenario::new(7, 3, 10_000);
    scenario.start.min_receivers = 2;
    scenario.source.trickle = Some((1_000, seconds(1)));
    scenario.receivers[2].launched = seconds(3);
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Complete), vec![Some(Exit::Complete), Some(Exit::Complete), Some(Exit::NotStarted)])
    );
    assert!(history.receivers[2].error.as_deref().is_some_and(|error| error.contains("already started")));
    assert!(history.receivers[2].ended.as_nanos() < 6_000_000_000);
}

#[test]
fn more_than_the_maximum_are_refused_and_required_names_keep_their_places() {
    let mut scenario = Scenario::new(8, 4, 10_000);
    scenario.start.min_receivers = 1;
    scenario.start.max_receivers = Some(3);
    scenario.start.require = vec!["r3".into()];
    scenario.receivers[3].launched = seconds(2);
    let history = scenario.run();
    let complete = history.receivers.iter().filter(|receiver| receiver.exit == Some(Exit::Complete)).count();
    assert_eq!((history.sender, complete), (Some(Exit::Complete), 3), "{:?}", exits(&history));
    assert_eq!(history.receivers[3].exit, Some(Exit::Complete));
}

#[test]
fn joins_are_counted_once_however_often_they_come() {
    let mut scenario = Scenario::new(9, 2, 10_000);
    scenario.start.min_receivers = 3;
    scenario.start_timeout = Some(seconds(10));
    for receiver in &mut scenario.receivers {
        receiver.leaf_back.duplicate = 1.0;
    }
    scenario.trunk_back.duplicate = 1.0;
    assert_eq!(scenario.run().sender, Some(Exit::NotStarted));
}

#[test]
fn a_receiver_that_hears_but_is_not_heard_is_not_admitted() {
    let mut scenario = Scenario::new(10, 2, 10_000);
    scenario.start.min_receivers = 1;
    scenario.receivers[1].mute = vec![(Duration::ZERO, seconds(10_000))];
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::Complete), vec![Some(Exit::Complete), Some(Exit::NotStarted)]));
}

#[test]
fn a_sender_that_restarts_before_the_start_is_found_again() {
    let mut scenario = Scenario::new(11, 1, 10_000);
    scenario.start_timeout = Some(seconds(60));
    scenario.sender_killed = Some(seconds(2));
    scenario.start.min_receivers = 2;
    // The receiver goes on searching until its own time is up, rather than end with the sender.
    let history = scenario.run();
    assert_eq!(exits(&history).1, vec![Some(Exit::NotStarted)]);
    assert!(history.receivers[0].ended.as_nanos() >= 60_000_000_000);
}

#[test]
fn a_thousand_receivers_join_within_two_seconds() {
    let mut scenario = Scenario::new(12, 0, 2_000);
    scenario.receivers = (0..1_000).map(ReceiverPlan::new).collect();
    scenario.start.min_receivers = 1_000;
    let history = scenario.run();
    all_complete(&history);
    assert!(history.started.expect("it has").as_nanos() < 2_000_000_000, "{:?}", history.started);
}

#[test]
fn an_answer_that_was_lost_as_data_began_to_flow_is_asked_for_at_once() {
    // The ninth join is heard, half a second after the one before, and starts the session.
    let mut scenario = Scenario::new(21, 1, 10_000);
    scenario.lose_first = vec![(Kind::Join, 8), (Kind::Roster, 1)];
    let history = scenario.run();
    all_complete(&history);
    let took = history.sender_ended.since(history.started.expect("it has"));
    assert!(took < Duration::from_millis(150), "{took:?}");
}

#[test]
fn an_answer_that_comes_late_because_of_data_is_waited_for_longer_than_a_short_peer_timeout() {
    let mut scenario = Scenario::new(22, 2, 100_000);
    scenario.source.trickle = Some((10_000, Duration::from_millis(100)));
    scenario.receivers[0].peer_timeout = Some(Duration::from_millis(500));
    scenario.lose_first = vec![(Kind::Roster, 60)];
    let history = scenario.run();
    all_complete(&history);
    let took = history.sender_ended.since(history.started.expect("it has"));
    assert!(took > Duration::from_millis(800), "{took:?}");
}

#[test]
fn a_sender_that_dies_before_it_has_answered_is_searched_for_again() {
    let mut scenario = Scenario::new(23, 1, 100_000);
    scenario.source.trickle = Some((1_000, Duration::from_millis(100)));
    scenario.peer_timeout = seconds(1);
    scenario.start_timeout = Some(seconds(60));
    scenario.lose_first = vec![(Kind::Roster, 1_000)];
    scenario.sender_killed = Some(Duration::from_millis(500));
    let history = scenario.run();
    assert_eq!(exits(&history).1, vec![Some(Exit::NotStarted)]);
    assert!(history.receivers[0].ended.as_nanos() >= 60_000_000_000, "{}", history.receivers[0].ended);
}

/// A second signal ends a sender at once, after one turn in which it aborts.
#[test]
fn receivers_that_joined_a_sender_that_aborts_in_its_last_turn_end_with_11() {
    let (mut played, mut joined) = (0, 0);
    for seed in seeds(200) {
        played += 1;
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x2516);
        let mut scenario = Scenario::new(seed, 3, 20_000);
        scenario.keyed = rng.bool();
        scenario.start.min_receivers = 4;
        scenario.start_timeout = Some(seconds(20));
        scenario.sender_launched = seconds(2);
        let stopped = scenario.sender_launched + Duration::from_micros(rng.u64(100..3_000));
        scenario.sender_stopped = Some(stopped);
        // Until it aborts, the sender does the same whether it is killed afterwards or not.
        let admitted = scenario.run().admitted;
        scenario.sender_killed = Some(stopped + Duration::from_nanos(1));
        let history = scenario.run();
        for (index, receiver) in history.receivers.iter().enumerate() {
            if admitted.contains(&format!("r{index}")) {
                joined += 1;
                let told = (receiver.exit, receiver.error.as_deref());
                let at = format!("seed {seed}, key {}, {stopped:?}", scenario.keyed);
                assert_eq!(receiver.exit, Some(Exit::Aborted), "{at}: {told:?}");
                assert!(receiver.ended < Time::ZERO + stopped + seconds(1), "{at}: {}", receiver.ended);
            }
        }
    }
    assert!(joined >= played / 2, "only {joined} receivers had joined in {played} sessions");
}
