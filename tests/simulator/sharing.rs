//! Sessions that share a line with each other.
//!
//! The seeds here are from 100 on. Constants of the rate control are tuned on others.

use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{History, seeds_in};

use crate::ports::{DEEP, SHALLOW, lan, mbit, ms, payload, port, share};

const LINE: Rate = mbit(200);

/// Plays sessions that send through one port, each begun `later` than the one before. A second after the last of them has
/// begun, each gets seven tenths of its fair share over ten seconds, and a tenth of what is sent is repair at most.
fn share_fairly(sessions: u32, queue: usize, later: Duration) {
    let from = later * (sessions - 1) + ms(1_000);
    let to = from + ms(10_000);
    for seed in seeds_in(100..102) {
        let all: Vec<_> = (0..sessions)
            .map(|session| {
                // More than the line carries in all the time, so that no session ends before the others.
                let bytes = (payload(LINE) * (to.as_secs_f64() + 1.0)) as u64;
                let mut scenario = lan(1_000 * seed + u64::from(session), 1, bytes);
                scenario.receivers[0].launched = later * session;
                scenario.backbone = Some(port(LINE, queue));
                scenario.sender_stopped = Some(to + ms(100));
                scenario
            })
            .collect();
        let histories = all[0].run_beside(&all[1..]);
        let what = format!("seed {seed}: {sessions} sessions, queue of {queue}, each {later:?} later");
        let fair = 1.0 / f64::from(sessions);
        let shares: Vec<_> =
            histories.iter().map(|history| share(history, 0, LINE, from, to) / fair).collect();
        assert!(shares.iter().all(|share| *share >= 0.7), "{what}: {shares:.3?} of the fair share");
        let all = shares.iter().sum::<f64>() * fair;
        assert!(all >= 0.9, "{what}: {all:.3} of the line");
        let repairs = repairs(&histories, from, to);
        assert!(repairs <= 0.1, "{what}: {repairs:.3} of what is sent is repair");
    }
}

/// Of the symbols that all sessions send between two moments, the share that is repair.
fn repairs(histories: &[History], from: Duration, to: Duration) -> f64 {
    let (mut all, mut repairs) = (0, 0);
    for history in histories {
        let (before, after) = (history.at(from).sent, history.at(to).sent);
        repairs += after.repair_symbols - before.repair_symbols;
        all += after.repair_symbols + after.source_symbols - before.repair_symbols - before.source_symbols;
    }
    repairs as f64 / all.max(1) as f64
}

#[test]
fn two_sessions_that_begin_at_once_share_a_line_with_a_shallow_queue() {
    share_fairly(2, SHALLOW, ms(0));
}

#[test]
fn two_sessions_that_begin_at_once_share_a_line_with_a_deep_queue() {
    share_fairly(2, DEEP, ms(0));
}

#[test]
fn two_sessions_that_begin_one_after_the_other_share_a_line_with_a_shallow_queue() {
    share_fairly(2, SHALLOW, ms(1_500));
}

#[test]
fn two_sessions_that_begin_one_after_the_other_share_a_line_with_a_deep_queue() {
    share_fairly(2, DEEP, ms(1_500));
}

#[test]
fn five_sessions_that_begin_at_once_share_a_line_with_a_shallow_queue() {
    share_fairly(5, SHALLOW, ms(0));
}

#[test]
fn five_sessions_that_begin_at_once_share_a_line_with_a_deep_queue() {
    share_fairly(5, DEEP, ms(0));
}

#[test]
fn five_sessions_that_begin_one_after_the_other_share_a_line_with_a_shallow_queue() {
    share_fairly(5, SHALLOW, ms(1_500));
}

#[test]
fn five_sessions_that_begin_one_after_the_other_share_a_line_with_a_deep_queue() {
    share_fairly(5, DEEP, ms(1_500));
}
