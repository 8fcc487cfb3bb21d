//! Two senders on one group and port: never a splice.

use std::time::Duration;

use crate::support::wait::readable;
use crate::support::{Lab, MIB, PATIENCE, Source};

#[test]
fn second_sender_of_the_same_label_is_refused_and_the_first_unharmed() {
    let lab = Lab::up(3);
    let (source, intruder) = (Source::new(1, 8 * MIB), Source::new(2, 8 * MIB));
    let mut receivers = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).start());
    let mut first = lab.sender().send().args(&["-n", "2"]).source(source).start();
    first.feed_to(4 * MIB);
    receivers[0].must_deliver(MIB, PATIENCE);
    let mut second = lab.host(3).send().args(&["-n", "1", "--start-timeout", "3s"]).source(intruder).start();
    second.finish();
    // Refused, or kept apart: then it found nobody who waits for a session.
    second.must_exit(&[13, 4], PATIENCE);
    first.finish();
    first.must_exit(&[0], PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}

#[test]
fn waiting_sender_keeps_the_group_and_who_joined_when_another_comes() {
    let lab = Lab::up(3);
    let source = Source::new(9, 2 * MIB);
    let mut first = lab.sender().send().args(&["-n", "2"]).source(source).start();
    first.finish();
    let mut early = lab.host(1).recv("r1").start();
    first.must_have_joined("r1");
    // Two that start within a blink are told apart by other means than their age.
    readable(&mut [], Duration::from_millis(200));
    let mut second = lab.host(3).send().args(&["-n", "1"]).source(Source::new(10, MIB)).start();
    second.must_exit(&[13], PATIENCE);
    let mut late = lab.host(2).recv("r2").start();
    first.must_exit(&[0], PATIENCE);
    for receiver in [&mut early, &mut late] {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
}

#[test]
fn two_senders_that_start_at_once_are_never_spliced() {
    let lab = Lab::up(3);
    let sources = [Source::new(3, 4 * MIB), Source::new(4, 4 * MIB)];
    let mut receivers =
        [2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).args(&["--start-timeout", "8s"]).start());
    let mut senders = [0, 1].map(|h| {
        let options = ["-n", "2", "--max-wait", "2s", "--start-timeout", "8s"];
        let mut sender = lab.host(h).send().args(&options).source(sources[h]).start();
        sender.finish();
        sender
    });
    // One gives way to the other, and who had joined it joins the other; or it comes when all is over, and finds nobody.
    let codes = senders.each_mut().map(|sender| sender.must_exit(&[0, 4, 13], PATIENCE).0);
    assert!(matches!(codes, [0, 4 | 13] | [4 | 13, 0]), "{codes:?}");
    let winner = sources[usize::from(codes[0] != 0)];
    for receiver in &mut receivers {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(winner);
    }
}

#[test]
fn two_senders_of_different_labels_both_complete() {
    let lab = Lab::with(3, &["--rate", "1gbit"]);
    let sources = [Source::new(5, 8 * MIB), Source::new(6, 8 * MIB)];
    let labels = ["alpha", "beta"];
    let mut receivers =
        [0, 1].map(|n| lab.host(n + 2).recv(labels[n]).args(&["--expect", labels[n]]).start());
    let mut senders = [0, 1].map(|h| {
        let mut sender = lab.host(h).send().args(&["-n", "1", "-l", labels[h]]).source(sources[h]).start();
        sender.finish();
        sender
    });
    for n in 0..2 {
        senders[n].must_exit(&[0], PATIENCE);
        receivers[n].must_exit(&[0], PATIENCE);
        receivers[n].must_have_delivered(sources[n]);
        assert_eq!(receivers[n].report()["label"], labels[n]);
    }
}

#[test]
fn restarted_sender_is_not_spliced_onto_the_killed_one() {
    let lab = Lab::up(2);
    let (before, after) = (Source::new(7, 8 * MIB), Source::new(8, 8 * MIB));
    let timeout = ["--peer-timeout", "2s"];
    let mut receivers = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).args(&timeout).start());
    let mut killed = lab.sender().send().args(&["-n", "2"]).source(before).start();
    killed.feed_to(4 * MIB);
    receivers[0].must_deliver(MIB, PATIENCE);
    killed.kill();
    killed.ends(PATIENCE);
    let mut restarted = lab.sender().send().args(&["-n", "2", "--start-timeout", "3s"]).source(after).start();
    restarted.finish();
    restarted.must_exit(&[4, 13], PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[5], PATIENCE);
        receiver.must_have_delivered_a_prefix(before);
    }
}
