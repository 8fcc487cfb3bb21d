//! What the network loses: a share of everything, everything for a while, and whatever is too large.

use std::time::Duration;

use crate::support::wait::for_as_long_as;
use crate::support::{Lab, MIB, PATIENCE, Program, Source, all_exit};

/// Receivers r1 to r`count`, each on a host of its own.
fn receivers(lab: &Lab, count: usize, options: &[&str]) -> Vec<Program> {
    (1..=count).map(|h| lab.host(h).recv(&format!("r{h}")).args(options).start()).collect()
}

fn all_complete(mut sender: Program, receivers: &mut [Program], source: Source) -> Program {
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(receivers, 0, PATIENCE);
    for receiver in receivers {
        receiver.must_have_delivered(source);
    }
    sender
}

#[test]
fn hosts_that_lose_from_a_thousandth_to_a_fifth_get_exact_bytes_for_little_more_than_the_worst_needs() {
    let lab = Lab::with(
        4,
        &["--rate", "300mbit", "--loss", "1=0.1%", "--loss", "2=1%", "--loss", "3=5%", "--loss", "4=20%"],
    );
    let source = Source::new(1, 16 * MIB);
    let mut receivers = receivers(&lab, 4, &[]);
    let sender = lab.sender().send().args(&["-n", "4"]).source(source).start();
    let sender = all_complete(sender, &mut receivers, source);
    let report = sender.report();
    let wire = |field: &str| report["wire"][field].as_f64().unwrap();
    // The host that loses a fifth needs 1.25 transmissions of each symbol, and nobody else needs as many.
    let sent = (wire("source_symbols") + wire("repair_symbols")) * 1_428.0 / source.len() as f64;
    assert!((1.2..1.35).contains(&sent), "{sent}: {report}");
    for (h, share) in [(1, 0.001), (2, 0.01), (3, 0.05), (4, 0.2)] {
        let report = sender.report_of(&format!("r{h}"));
        // The number of losses varies by its square root; five times that happens once in a million runs.
        let (lost, expected) = (report["lost_symbols"].as_f64().unwrap(), share * wire("datagrams"));
        assert!(lost > 0.0 && (lost - expected).abs() < 5.0 * expected.sqrt(), "r{h} lost {lost}: {report}");
        assert_eq!(report["dropped_at_socket"], 0, "{report}");
    }
}

#[test]
fn report_and_debug_log_tell_what_the_path_to_a_lossy_host_loses() {
    let lab = Lab::with(2, &["--rate", "300mbit", "--loss", "2=5%"]);
    let source = Source::new(4, 40 * MIB);
    let mut receivers = receivers(&lab, 2, &[]);
    let sender = lab.sender().send().args(&["-n", "2", "--rate", "100M"]).source(source).start();
    let sender = all_complete(sender, &mut receivers, source);
    let (report, said) = (sender.report(), sender.stderr());
    // Half of the true share is enough to tell one path from the other.
    let loss = |name| sender.report_of(name)["path_loss"].as_f64().unwrap();
    assert!(loss("r1") < 0.01 && (0.025..0.075).contains(&loss("r2")), "{report}");
    assert!(said.contains("the path to r2 loses ") && !said.contains("the path to r1 loses "), "{said}");
    assert!(said.matches("at a lower rate").count() <= 5, "{said}");
}

#[test]
fn bursts_of_loss_at_one_host_and_at_all_are_repaired_without_a_storm() {
    let lab = Lab::with(3, &["--rate", "300mbit"]);
    let source = Source::new(2, 48 * MIB);
    let mut receivers = receivers(&lab, 3, &[]);
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).start();
    sender.feed_to(40 * MIB);
    for (host, way, span) in
        [("2", "in", 10), ("0", "out", 10), ("2", "in", 200), ("0", "out", 200), ("0", "out", 3_000)]
    {
        let before = receivers[0].taken();
        receivers[0].must_deliver(before + 1, PATIENCE);
        lab.script("cut", &[host, way]);
        for_as_long_as(Duration::from_millis(span));
        lab.script("heal", &[host]);
        receivers[0].must_deliver(before + MIB, PATIENCE);
    }
    let sender = all_complete(sender, &mut receivers, source);
    // One that lost as much as its buffers hold asks in a few hundred reports, not in one for each datagram.
    for h in 1..=3 {
        let report = sender.report_of(&format!("r{h}"));
        assert!(
            report["nacks"].as_u64().unwrap() < report["lost_symbols"].as_u64().unwrap().max(400),
            "{report}"
        );
    }
    let feedback = sender.report()["wire"]["feedback_datagrams"].as_u64().unwrap();
    assert!(feedback < 6_000, "{}", sender.report());
}

#[test]
fn datagrams_that_are_suddenly_too_large_for_one_host_end_its_session_with_a_hint() {
    let lab = Lab::with(2, &["--rate", "300mbit"]);
    let source = Source::new(3, 16 * MIB);
    let common = ["--peer-timeout", "2s"];
    let mut receivers = receivers(&lab, 2, &common);
    let mut sender = lab.sender().send().args(&["-n", "2"]).args(&common).source(source).start();
    sender.feed_to(4 * MIB);
    for receiver in &receivers {
        receiver.must_deliver(MIB, PATIENCE);
    }
    // A tunnel or another way takes over, and swallows what does not fit.
    lab.script("size", &["2", "1400"]);
    sender.finish();
    let mut narrow = receivers.remove(1);
    narrow.must_exit(&[5], PATIENCE);
    sender.must_exit(&[3], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for said in [narrow.stderr(), sender.stderr()] {
        assert!(said.contains("MTU") || said.contains("--mtu"), "{said}");
    }
    narrow.must_have_delivered_a_prefix(source);
}
