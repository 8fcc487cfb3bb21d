//! Multicast as switches really do it: memberships that are forgotten, links and interfaces that go down and up, and
//! hosts that hear or are heard, but not both.

use std::time::Duration;

use crate::support::keys::{Pass, pass};
use crate::support::wait::for_as_long_as;
use crate::support::{KIB, Lab, MIB, PATIENCE, Program, Source, all_exit};

/// A session of two receivers, with these options on all three, that has begun to deliver.
fn under_way(lab: &Lab, source: Source, common: &[&str]) -> (Program, Vec<Program>) {
    let receivers: Vec<_> = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).args(common).start()).into();
    let mut sender = lab.sender().send().args(&["-n", "2"]).args(common).source(source).start();
    sender.feed_to(KIB);
    for receiver in &receivers {
        receiver.must_deliver(KIB, PATIENCE);
    }
    (sender, receivers)
}

fn all_complete(mut sender: Program, mut receivers: Vec<Program>, source: Source) {
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
    }
}

/// A switch that forgets members after seven seconds, and a session that goes on for nine.
fn is_reminded(seed: u64, group: &str) {
    let lab = Lab::with(2, &["--snooping", "7"]);
    let source = Source::new(seed, 64 * KIB);
    let (sender, receivers) = under_way(&lab, source, &["-g", group, "--peer-timeout", "1500ms"]);
    for_as_long_as(Duration::from_secs(9));
    for receiver in &receivers {
        receiver.must_say("joined the group again", PATIENCE);
    }
    all_complete(sender, receivers, source);
}

#[test]
fn switch_that_snoops_without_a_querier_is_reminded_of_an_ipv4_group_before_it_forgets() {
    is_reminded(1, "239.255.77.67");
}

#[test]
fn switch_that_snoops_without_a_querier_is_reminded_of_an_ipv6_group_before_it_forgets() {
    is_reminded(2, "ff15::4d43");
}

#[test]
fn receiver_that_waits_for_longer_than_a_switch_remembers_hears_the_sender_all_the_same() {
    let lab = Lab::with(2, &["--snooping", "4"]);
    let source = Source::new(3, 64 * KIB);
    let options = ["--peer-timeout", "1s"];
    let receivers: Vec<_> = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).args(&options).start()).into();
    for_as_long_as(Duration::from_secs(6));
    let sender = lab.sender().send().args(&["-n", "2"]).args(&options).source(source).start();
    all_complete(sender, receivers, source);
}

#[test]
fn receivers_of_one_host_remind_a_switch_together_once_it_has_forgotten() {
    let lab = Lab::with(1, &["--snooping", "2"]);
    let source = Source::new(4, 64 * KIB);
    // None of them alone brings its kernel to report.
    let receivers: Vec<_> =
        ["r1", "r2", "r3"].map(|name| lab.host(1).recv(name).args(&["--peer-timeout", "4s"]).start()).into();
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.feed_to(KIB);
    for_as_long_as(Duration::from_secs(5));
    for receiver in &receivers {
        receiver.must_say("joining the group anew", PATIENCE);
    }
    all_complete(sender, receivers, source);
}

#[test]
fn interface_of_a_receiver_may_go_down_and_come_up_again() {
    let lab = Lab::with(2, &["--snooping", "on"]);
    let source = Source::new(5, 512 * KIB);
    let (mut sender, receivers) = under_way(&lab, source, &[]);
    lab.host(1).set_link("down");
    sender.feed_to(256 * KIB);
    for_as_long_as(Duration::from_secs(1));
    lab.host(1).set_link("up");
    all_complete(sender, receivers, source);
}

#[test]
fn interface_of_the_sender_may_go_down_and_come_up_again() {
    let lab = Lab::with(2, &["--snooping", "on"]);
    let source = Source::new(6, 512 * KIB);
    let (mut sender, receivers) = under_way(&lab, source, &[]);
    lab.sender().set_link("down");
    sender.feed_to(256 * KIB);
    for_as_long_as(Duration::from_secs(1));
    lab.sender().set_link("up");
    all_complete(sender, receivers, source);
}

#[test]
fn switch_that_restarts_and_has_forgotten_everybody_is_told_again() {
    // Carrier goes and comes back; the switch knows no member any more, and has nobody to ask for them.
    let lab = Lab::with(2, &["--snooping", "3600"]);
    let source = Source::new(7, 512 * KIB);
    let (mut sender, receivers) = under_way(&lab, source, &["--peer-timeout", "6s"]);
    for h in ["0", "1", "2"] {
        lab.script("unplug", &[h]);
    }
    sender.feed_to(256 * KIB);
    for_as_long_as(Duration::from_millis(500));
    for h in ["0", "1", "2"] {
        lab.script("plug", &[h]);
    }
    all_complete(sender, receivers, source);
}

#[test]
fn receiver_that_hears_and_is_not_heard_exits_4_and_says_why() {
    let lab = Lab::up(2);
    let source = Source::new(8, MIB);
    lab.script("cut", &["2", "out"]);
    let heard = lab.host(1).recv("r1").start();
    // With a key, a session that goes on without an answer may be a recording, so only the start timeout ends the search.
    let limit = match pass() {
        Pass::Plain => "10m",
        Pass::WithKey => "8s",
    };
    let unheard = lab.host(2).recv("r2").args(&["--peer-timeout", "2s", "--start-timeout", limit]);
    let mut unheard = unheard.start();
    let mut sender = lab.sender().send().args(&["-n", "1", "--min-wait", "1s"]).source(source).start();
    sender.feed_to(KIB);
    unheard.must_exit(&[4], PATIENCE);
    let said = unheard.stderr();
    assert!(said.contains("does not hear this host") && said.contains("firewall"), "{said}");
    all_complete(sender, vec![heard], source);
}

#[test]
fn receiver_that_does_not_hear_never_joins_and_both_sides_name_the_likely_causes() {
    let lab = Lab::up(1);
    lab.script("cut", &["1", "in"]);
    let mut deaf = lab.host(1).recv("r1").args(&["--start-timeout", "1500ms"]).start();
    let mut sender =
        lab.sender().send().args(&["--start-timeout", "1500ms"]).source(Source::new(9, KIB)).start();
    for program in [&mut deaf, &mut sender] {
        program.must_exit(&[4], PATIENCE);
        let said = program.stderr();
        for cause in ["firewall", "switches", "--ttl"] {
            assert!(said.contains(cause), "{said}");
        }
    }
}

#[test]
fn receiver_that_hears_no_more_in_mid_session_exits_5_and_names_the_likely_cause() {
    let lab = Lab::up(2);
    let source = Source::new(10, 8 * MIB);
    let (mut sender, mut receivers) = under_way(&lab, source, &["--peer-timeout", "2s"]);
    lab.script("cut", &["2", "in"]);
    sender.feed_to(4 * MIB);
    let mut deaf = receivers.remove(1);
    deaf.must_exit(&[5], PATIENCE);
    sender.finish();
    // It has said so on the way that was open.
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for said in [deaf.stderr(), sender.stderr()] {
        assert!(said.contains("snooping") && said.contains("firewall"), "{said}");
    }
}

#[test]
fn receiver_that_is_heard_no_more_in_mid_session_is_evicted_and_told_what_to_check() {
    let lab = Lab::up(2);
    let source = Source::new(11, 8 * MIB);
    let (mut sender, mut receivers) = under_way(&lab, source, &["--peer-timeout", "2s"]);
    lab.script("cut", &["2", "out"]);
    sender.finish();
    let mut unheard = receivers.remove(1);
    unheard.must_exit(&[12], PATIENCE);
    assert!(unheard.stderr().contains("way back"), "{}", unheard.stderr());
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
}
