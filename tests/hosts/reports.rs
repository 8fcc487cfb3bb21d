//! Reports of sessions: the last one, the log of all, and what a stop does to them.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::program::Launch;
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Host, Lab, MIB, PATIENCE, Program, Source};

const LOG: &str = "reports.jsonl";

fn with_log(launch: Launch) -> Launch {
    let log = launch.file(LOG);
    launch.arg("--report-log").arg(log)
}

fn repeating(host: &Host) -> Program {
    let launch = with_log(host.recv("r1")).args(&["--peer-timeout", "2s", "--repeat", "-o"]);
    let path = launch.file("{label}.dump");
    launch.arg(path).start()
}

/// The log's lines, which must all be reports.
fn log(program: &Program) -> Vec<Value> {
    let text = std::fs::read_to_string(program.file(LOG)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn log_has_a_line_for_each_session_and_none_for_a_stop_between_sessions() {
    let lab = Lab::up(1);
    let mut receiver = repeating(lab.host(1));
    for (seed, label) in [(1, "one"), (2, "two")] {
        let mut sender = lab.sender().send().args(&["-l", label]).source(Source::new(seed, MIB)).start();
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
    }
    assert!(comes_true(PATIENCE, || log(&receiver).len() == 2));
    let last = receiver.report();
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    let lines = log(&receiver);
    assert_eq!(lines.iter().map(|line| &line["label"]).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((&lines[1], &receiver.report()), (&last, &last));
    let times = ["started", "finished"].map(|field| lines.iter().map(move |line| line[field].to_string()));
    let [started, finished] = times.map(Iterator::collect::<Vec<_>>);
    assert!(started[0] < finished[0] && finished[0] <= started[1], "{started:?} {finished:?}");
}

#[test]
fn session_that_a_signal_ends_is_the_last_report_and_a_line_of_the_log() {
    let lab = Lab::up(1);
    let mut receiver = repeating(lab.host(1));
    let mut sender = lab.sender().send().source(Source::new(3, 4 * MIB)).start();
    sender.feed_to(MIB);
    receiver.must_say("receiving", PATIENCE);
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], AT_ONCE);
    let report = receiver.report();
    assert_eq!((&report["outcome"], &report["exit_code"]), (&"aborted".into(), &143.into()));
    assert_eq!(log(&receiver), [report]);
    sender.finish();
    sender.must_exit(&[5], PATIENCE);
}

#[test]
fn log_that_takes_nothing_is_told_and_changes_no_exit_code() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").start();
    let launch = lab.sender().send().args(&["-n", "1", "--report-log", "/dev/full"]);
    let mut sender = launch.source(Source::new(4, MIB)).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    assert!(sender.stderr().contains("--report-log /dev/full: "), "{}", sender.stderr());
}

#[test]
fn log_in_a_directory_that_is_not_there_is_refused_at_launch() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").args(&["--report-log", "/nonexistent/log"]).start();
    receiver.must_exit(&[10], AT_ONCE);
    let said = receiver.stderr();
    assert!(said.contains("--report-log /nonexistent/log") && said.lines().count() == 1, "{said}");
}
