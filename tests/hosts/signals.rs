//! TERM and INT, once and twice, at either side, in every phase: 128 + n within two seconds, and the peers know.

use rustix::process::Signal;

use crate::support::obey::WAYS;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source, all_exit, three_receivers};

#[test]
fn sender_and_receiver_obey_while_they_wait_for_each_other() {
    let lab = Lab::up(1);
    for way in WAYS {
        let mut sender = lab.sender().send().args(&["-g", "239.255.1.1"]).source(Source::new(1, MIB)).start();
        let mut receiver = lab.host(1).recv("r1").args(&["-g", "239.255.1.2"]).writes_file().start();
        sender.must_catch_signals();
        receiver.must_catch_signals();
        way.stops(&mut sender);
        way.stops(&mut receiver);
        receiver.must_leave_no_file();
    }
}

#[test]
fn sender_obeys_in_the_start_window_and_tells_who_joined() {
    let lab = Lab::up(1);
    for way in WAYS {
        let mut receiver = lab.host(1).recv("r1").writes_file().start();
        let mut sender = lab.sender().send().args(&["-n", "2"]).source(Source::new(2, MIB)).start();
        sender.must_have_joined("r1");
        way.stops(&mut sender);
        receiver.must_exit(&[11], AT_ONCE);
        receiver.must_leave_no_file();
    }
}

#[test]
fn sender_obeys_in_mid_stream_while_its_source_is_silent() {
    let lab = Lab::up(3);
    for way in WAYS {
        let source = Source::new(3, 8 * MIB);
        let mut piped = lab.host(1).recv("r1").start();
        let mut filed = [2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).writes_file().start());
        let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
        sender.feed_to(4 * MIB);
        piped.must_deliver(4 * MIB, PATIENCE);
        way.stops(&mut sender);
        piped.must_exit(&[11], AT_ONCE);
        piped.must_have_delivered_a_prefix(source);
        all_exit(&mut filed, 11, AT_ONCE);
        for receiver in &filed {
            receiver.must_leave_no_file();
        }
        assert_eq!(sender.report()["outcome"], "aborted");
    }
}

#[test]
fn sender_obeys_in_mid_stream_at_full_speed() {
    let lab = Lab::with(3, &["--rate", "200mbit", "--loss", "2=1%"]);
    for way in WAYS {
        let source = Source::new(4, 256 * MIB);
        let mut receivers = three_receivers(&lab, &[]);
        let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
        sender.finish();
        for receiver in &receivers {
            receiver.must_deliver(2 * MIB, PATIENCE);
        }
        way.stops(&mut sender);
        all_exit(&mut receivers, 11, AT_ONCE);
        for receiver in &receivers {
            receiver.must_have_delivered_a_prefix(source);
        }
    }
}

#[test]
fn sender_obeys_while_sinks_have_not_taken_the_end() {
    let lab = Lab::up(1);
    for way in WAYS {
        let source = Source::new(5, MIB);
        let mut receiver = lab.host(1).recv("r1").takes(1).start();
        let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
        sender.finish();
        receiver.must_deliver(1, PATIENCE);
        way.stops(&mut sender);
        // Its sink is stuck; the receiver is not.
        receiver.must_exit(&[11], AT_ONCE);
        receiver.take_all();
        receiver.must_have_delivered_a_prefix(source);
    }
}

#[test]
fn receiver_obeys_in_mid_stream_and_the_others_finish() {
    let lab = Lab::up(3);
    for way in WAYS {
        let source = Source::new(6, 8 * MIB);
        let mut receivers = three_receivers(&lab, &[]);
        let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
        sender.feed_to(4 * MIB);
        for receiver in &receivers {
            receiver.must_deliver(MIB, PATIENCE);
        }
        let mut leaves = receivers.remove(0);
        way.stops(&mut leaves);
        leaves.must_have_delivered_a_prefix(source);
        sender.finish();
        // It said goodbye, so nobody waits for its peer timeout.
        sender.must_exit(&[3], AT_ONCE);
        all_exit(&mut receivers, 0, AT_ONCE);
        assert_eq!(sender.report_of("r1")["exit_code"], way.code, "{}", sender.report());
    }
}

#[test]
fn receiver_obeys_while_its_sink_takes_nothing_and_the_sender_knows() {
    let lab = Lab::up(1);
    for way in WAYS {
        let mut receiver = lab.host(1).recv("r1").takes(1).start();
        let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(7, MIB)).start();
        sender.finish();
        receiver.must_deliver(1, PATIENCE);
        way.stops(&mut receiver);
        sender.must_exit(&[5, 11], AT_ONCE);
    }
}

/// Two signals that are there before either has been looked at: the process ends at once, but not without a word.
fn gets_two_signals_at_once(program: &mut Program) {
    program.signal(Signal::STOP);
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    program.signal(Signal::CONT);
    program.must_exit(&[143, 130], AT_ONCE);
}

#[test]
fn sender_that_gets_two_signals_at_once_still_tells_its_receivers() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(8, 8 * MIB)).start();
    sender.feed_to(4 * MIB);
    receiver.must_deliver(MIB, PATIENCE);
    gets_two_signals_at_once(&mut sender);
    receiver.must_exit(&[11], AT_ONCE);
}

#[test]
fn receiver_that_gets_two_signals_at_once_still_tells_its_sender() {
    let lab = Lab::up(2);
    let source = Source::new(9, 8 * MIB);
    let mut receivers = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).start());
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.feed_to(4 * MIB);
    for receiver in &receivers {
        receiver.must_deliver(MIB, PATIENCE);
    }
    gets_two_signals_at_once(&mut receivers[0]);
    sender.finish();
    sender.must_exit(&[3], AT_ONCE);
    receivers[1].must_exit(&[0], AT_ONCE);
    assert_eq!(sender.report_of("r1")["outcome"], "aborted", "{}", sender.report());
}
