//! What the protocol's logic must get right where timers, losses and lies meet.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::{Counted, History, Hostile, Loss, PlayedBack, ReceiverPlan, Scenario};
use mcast::time::Time;
use mcast::wire::{
    Abort, AbortReason, BlockNumber, Confirm, DatagramNumber, Kind, Leave, Message, Needs, Outcome,
    ReceiverId, Report, SessionId, Stage, Text,
};

use crate::{all_complete, exits};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A report in the name of the receiver `index`, as it might come from anyone who has seen the session.
fn forged_report(at: Duration, index: usize, number: u64, received: u64) -> Hostile {
    let report = Report {
        receiver: ReceiverId(0x1000 + index as u64),
        highest: DatagramNumber(0),
        settled: DatagramNumber(0),
        arrived: 0,
        held: Duration::ZERO,
        waited: Duration::ZERO,
        received: BlockNumber(received),
        position: BlockNumber(received),
        bytes: 0,
        window: 1,
        credit: 1,
        lost_symbols: 0,
        dropped: 0,
        stalled: Duration::ZERO,
        needs: Needs::Given(&[]),
    };
    let mut content = Vec::new();
    Message::Report(report).write(SessionId([0; 16]), DatagramNumber(number), &mut content);
    Hostile { at, to: 0, from: Some(index + 1), content }
}

#[test]
fn a_long_wait_before_the_start_delays_no_eviction_after_it() {
    let mut scenario = Scenario::new(1, 2, 100_000);
    scenario.receivers[0].launched = seconds(60);
    scenario.start.max_receivers = Some(2);
    scenario.receivers[1].killed = Some(seconds(58));
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::Partial), vec![Some(Exit::Complete), None]));
    assert!(history.sender_ended.as_nanos() < 75_000_000_000, "{}", history.sender_ended);
}

#[test]
fn an_evicted_receiver_that_missed_the_word_is_told_again() {
    let mut scenario = Scenario::new(2, 2, 10_000);
    scenario.source.trickle = Some((100, seconds(1)));
    scenario.receivers[1].mute = vec![(seconds(5), seconds(18))];
    scenario.receivers[1].deaf = vec![(seconds(14), seconds(17))];
    let history = scenario.run();
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Evicted)]),
        "{:?}",
        history.receivers[1].error
    );
    assert!(history.receivers[1].ended.as_nanos() < 20_000_000_000, "{}", history.receivers[1].ended);
}

#[test]
fn a_sender_lost_while_the_sink_takes_the_rest_takes_nothing_away() {
    let mut scenario = Scenario::new(3, 2, 200_000);
    for receiver in &mut scenario.receivers {
        receiver.sink.per_block = seconds(2);
    }
    scenario.sender_killed = Some(seconds(2));
    assert_eq!(exits(&scenario.run()).1, vec![Some(Exit::Complete); 2]);
}

#[test]
fn a_forged_report_does_not_make_the_true_ones_old_news() {
    let mut scenario = Scenario::new(4, 2, 40_000);
    scenario.symbol_size = 64;
    scenario.block_symbols = 4;
    scenario.source.trickle = Some((4_000, ms(100)));
    scenario.hostile = vec![forged_report(ms(250), 1, u64::MAX, 0)];
    // The forged window of 1 is not to last either.
    scenario.limit = seconds(60);
    all_complete(&scenario.run());
}

#[test]
fn a_forged_report_of_more_than_was_ever_sent_is_not_believed() {
    let mut scenario = Scenario::new(10, 2, 100_000).with_loss(0.05);
    scenario.source.trickle = Some((1_000, ms(10)));
    scenario.hostile = (0..10).map(|at| forged_report(ms(at * 100), 1, u64::MAX, 1_000_000)).collect();
    all_complete(&scenario.run());
}

/// What somebody says in the name of the receiver `index` in mid-stream, twice, and what becomes of a session of two.
fn in_mid_stream(index: usize, message: &Message<'_>) -> History {
    let mut scenario = Scenario::new(12, 2, 40_000);
    scenario.source.trickle = Some((4_000, ms(100)));
    for at in [400, 500] {
        let mut content = Vec::new();
        message.write(SessionId([0; 16]), DatagramNumber(1 << 40), &mut content);
        scenario.hostile.push(Hostile { at: ms(at), to: 0, from: Some(index + 1), content });
    }
    scenario.run()
}

const SUCCESS: Outcome = Outcome {
    exit: Exit::Complete,
    bytes: 40_000,
    lost_symbols: 0,
    dropped: 0,
    nacks: 0,
    stalled: Duration::ZERO,
};

#[test]
fn nobody_has_verified_a_stream_whose_end_was_not_sent() {
    for stage in [Stage::Verified, Stage::Done] {
        let confirm = Confirm { receiver: ReceiverId(0x1001), stage, outcome: SUCCESS };
        all_complete(&in_mid_stream(1, &Message::Confirm(confirm)));
    }
}

#[test]
fn who_leaves_has_not_succeeded_whatever_it_says() {
    let outcome = Outcome { lost_symbols: 7, dropped: 5, nacks: 3, stalled: ms(11), ..SUCCESS };
    let leave = Leave { receiver: ReceiverId(0x1001), outcome, text: Text::truncated("") };
    let history = in_mid_stream(1, &Message::Leave(leave));
    // What it has counted is taken from it.
    let counted = Counted { bytes: 40_000, nacks: 3, lost_symbols: 7, dropped: 5, stalled: ms(11) };
    assert_eq!(history.counted.get("r1"), Some(&counted));
    assert_eq!(
        exits(&history),
        (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Evicted)]),
        "{:?}",
        history.sender_error
    );
}

#[test]
fn who_was_given_up_and_has_succeeded_all_the_same_has_succeeded() {
    let mut scenario = Scenario::new(15, 2, 100_000);
    scenario.source.trickle = Some((10_000, ms(100)));
    scenario.receivers[0].sink.closing = seconds(40);
    scenario.receivers[1].mute = vec![(ms(880), seconds(15))];
    scenario.receivers[1].sink.closing = seconds(20);
    all_complete(&scenario.run());
}

#[test]
fn a_confirmation_that_was_heard_is_followed_by_signs_of_life_only() {
    let mut scenario = Scenario::new(16, 1, 10_000);
    scenario.receivers[0].sink.closing = seconds(60);
    let history = scenario.run();
    all_complete(&history);
    let confirmations = history.feedback.get(&(Kind::Confirm as u8)).copied().unwrap_or_default();
    assert!((50..75).contains(&confirmations), "{confirmations}");
}

#[test]
fn who_leaves_is_gone_as_soon_as_the_sender_has_heard_it() {
    let mut scenario = Scenario::new(17, 2, 100_000);
    scenario.source.trickle = Some((10_000, ms(100)));
    scenario.receivers[1].stopped = Some(ms(500));
    let history = scenario.run();
    let ended = history.receivers[1].ended;
    assert!(ended < Time::ZERO + ms(520), "{ended}");
}

#[test]
fn a_sender_that_makes_way_for_another_once_data_flows_is_one_that_aborts() {
    let mut scenario = Scenario::new(18, 2, 100_000);
    scenario.source.trickle = Some((10_000, ms(100)));
    let abort = Abort { reason: AbortReason::GroupTaken, text: Text::truncated("another one") };
    let mut content = Vec::new();
    Message::Abort(abort).write(SessionId([0; 16]), DatagramNumber(1 << 40), &mut content);
    scenario.hostile = vec![Hostile { at: ms(500), to: 2, from: Some(0), content }];
    let history = scenario.run();
    assert_eq!(exits(&history).1, vec![Some(Exit::Complete), Some(Exit::Aborted)]);
}

#[test]
fn who_dies_in_the_start_window_is_not_one_of_those_who_are_enough() {
    let mut scenario = Scenario::new(13, 3, 10_000);
    (scenario.start.min_receivers, scenario.start.min_wait) = (2, seconds(3));
    scenario.receivers[0].killed = Some(seconds(1));
    scenario.receivers[1].launched = seconds(20);
    scenario.receivers[2].launched = seconds(30);
    let history = scenario.run();
    assert_eq!(history.sender, Some(Exit::Complete), "{:?}", history.sender_error);
    assert_eq!(history.admitted, ["r1", "r2"]);
    assert!(history.started >= Some(Time::ZERO + seconds(30)), "{:?}", history.started);
    // Nor does its join open the window for those who come later.
    (scenario.start.min_receivers, scenario.start.max_wait) = (3, Some(seconds(25)));
    let started = scenario.run().started.map(|at| at.since(Time::ZERO).as_secs());
    assert_eq!(started, Some(45));
}

#[test]
fn who_was_forgotten_in_the_start_window_joins_again_and_old_answers_do_not_end_its_part() {
    let scenario = || {
        let mut scenario = Scenario::new(14, 2, 100_000);
        scenario.source.trickle = Some((1_000, ms(100)));
        scenario.peer_timeout = seconds(2);
        scenario.receivers[0].pauses = vec![(ms(500), seconds(4))];
        scenario.receivers[1].launched = seconds(6);
        scenario
    };
    // Each datagram comes twice.
    let mut doubled = scenario();
    doubled.trunk.duplicate = 1.0;
    all_complete(&doubled.run());
    // And with a key, somebody repeats what it was told.
    let mut recording = scenario().with_key();
    recording.records = true;
    let rosters: Vec<_> = (recording.run().recorded.into_iter())
        .filter(|it| it.host == 0 && it.bytes[1] == Kind::Roster as u8 && it.at < Time::ZERO + seconds(5))
        .collect();
    assert!(rosters.len() >= 2, "{}", rosters.len());
    let mut attacked = scenario().with_key();
    attacked.played_back = (rosters.iter())
        .map(|it| PlayedBack { at: seconds(8), to: 1, from: Some(0), bytes: it.bytes.clone() })
        .collect();
    all_complete(&attacked.run());
}

#[test]
fn what_the_sender_no_longer_has_ends_the_session_of_who_misses_it() {
    let mut scenario = Scenario::new(5, 2, 100_000);
    scenario.source.trickle = Some((100, ms(100)));
    scenario.receivers[1].deaf = vec![(ms(1_000), ms(2_000))];
    scenario.hostile = (0..40).map(|at| forged_report(ms(1_900 + at), 1, u64::MAX, 15)).collect();
    let history = scenario.run();
    assert_eq!(exits(&history), (Some(Exit::Partial), vec![Some(Exit::Complete), Some(Exit::Integrity)]));
    assert!(history.receivers[1].ended.as_nanos() < 7_000_000_000, "{}", history.receivers[1].ended);
}

#[test]
fn an_impatient_receiver_and_a_patient_sender_get_along() {
    let mut scenario = Scenario::new(6, 3, 3_000).with_loss(0.15);
    scenario.peer_timeout = seconds(3_600);
    scenario.receivers[0].peer_timeout = Some(ms(500));
    scenario.receivers[1].peer_timeout = Some(seconds(36_000));
    scenario.receivers[2].launched = seconds(60);
    scenario.source.trickle = Some((100, seconds(2)));
    all_complete(&scenario.run());
}

#[test]
fn a_lost_report_does_not_hold_up_a_small_window() {
    let mut scenario = Scenario::new(7, 1, 1_000_000);
    scenario.receivers[0].buffer = 2 * 32 * 300;
    scenario.receivers[0].leaf_back.loss = Loss::Independent(0.2);
    let history = scenario.run();
    all_complete(&history);
    assert!(history.sender_ended.as_nanos() < 2_000_000_000, "{}", history.sender_ended);
}

#[test]
fn a_lost_report_does_not_hold_up_a_small_socket_buffer() {
    for buffer in [600, 3_000, 6_000, 20_000] {
        let mut scenario = Scenario::new(8, 1, 500_000);
        scenario.receivers[0].socket_buffer = buffer;
        scenario.receivers[0].leaf_back.loss = Loss::Independent(0.2);
        let history = scenario.run();
        all_complete(&history);
        assert!(history.sender_ended.as_nanos() < 8_000_000_000, "{buffer}: {}", history.sender_ended);
    }
}

#[test]
fn a_crowd_of_a_thousand_is_served_at_a_useful_rate() {
    let mut scenario = Scenario::new(9, 0, 2_000_000);
    scenario.symbol_size = 1_428;
    scenario.receivers = (0..1_000).map(ReceiverPlan::new).collect();
    for receiver in &mut scenario.receivers {
        receiver.leaf.loss = Loss::Independent(0.001);
        receiver.socket_buffer = 2 << 20;
        receiver.buffer = 8 << 20;
    }
    scenario.trunk.rate = Some(Rate::from_bits_per_second(1_000_000_000));
    scenario.start.min_receivers = 1_000;
    let history = scenario.run();
    all_complete(&history);
    let took = history.sender_ended.since(history.started.expect("it has"));
    assert!(took < seconds(10), "{took:?}");
}
