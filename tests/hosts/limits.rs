//! What held the session up: named while it happens and in the report, with seconds.

use std::time::Duration;

use crate::support::wait::for_as_long_as;
use crate::support::{KIB, Lab, MIB, PATIENCE, Program, Source};

/// Seconds for which a report says that this held the session up.
fn held(program: &Program, limiter: &str) -> f64 {
    program.report()["limited_by"][limiter].as_f64().unwrap_or_default()
}

#[test]
fn source_rate_and_receiver_are_named_in_the_progress_line_and_in_the_report() {
    let lab = Lab::up(2);
    let source = Source::new(1, 20 * MIB);
    let mut stuck = lab.host(1).recv("r1").args(&["--buffer", "4M"]).takes(8 * MIB).start();
    let mut other = lab.host(2).recv("r2").start();
    let options = ["-n", "2", "--rate", "40M", "--progress", "always"];
    let mut sender = lab.sender().send().args(&options).source(source).start();
    sender.feed_to(KIB);
    other.must_deliver(KIB, PATIENCE);
    for_as_long_as(Duration::from_millis(1_500));
    sender.must_say("limit: source ", PATIENCE);
    // 5 MB a second: what the first receiver takes lasts for a second and a half.
    sender.finish();
    sender.must_say("limit: --rate ", PATIENCE);
    sender.must_say("limit: receiver r1 ", PATIENCE);
    for_as_long_as(Duration::from_secs(2));
    stuck.take_all();
    sender.must_exit(&[0], PATIENCE);
    for receiver in [&mut stuck, &mut other] {
        receiver.must_exit(&[0], PATIENCE);
        receiver.must_have_delivered(source);
    }
    let report = sender.report();
    let limits = ["source", "network", "receiver:r1", "receiver:r2"].map(|limiter| held(&sender, limiter));
    let [by_source, by_network, by_stuck, by_other] = limits;
    // 20 MiB take 4.2 s at that rate.
    assert!(by_source >= 1.0 && by_network >= 3.0 && by_stuck >= 1.9 && by_other < 0.5, "{report}");
    let elapsed = report["elapsed_s"].as_f64().unwrap();
    assert!((limits.iter().sum::<f64>() - elapsed).abs() < 0.1 + elapsed / 50.0, "{report}");
    // What it says itself agrees, but for the moment in which its window fills; nobody else was stalled.
    let stalled = |name| sender.report_of(name)["stalled_s"].as_f64().unwrap();
    assert!((by_stuck - 0.5..by_stuck + 2.0).contains(&stalled("r1")) && stalled("r2") < 0.5, "{report}");
    assert!((held(&stuck, "sink") - stalled("r1")).abs() < 0.1, "{}", stuck.report());
    // Nothing was lost to say the contrary.
    for name in ["r1", "r2"] {
        assert_eq!(sender.report_of(name)["dropped_at_socket"], 0, "{report}");
    }
}
