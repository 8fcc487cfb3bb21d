//! Reports of sessions: the last one, the log of all, and what a stop does to them.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::schema;
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
fn service_that_gives_up_between_sessions_replaces_the_report_of_its_last_one() {
    let lab = Lab::up(1);
    let launch = with_log(lab.host(1).recv("r1")).args(&["--repeat", "--start-timeout", "2s", "-o"]);
    let path = launch.file("{label}.dump");
    let mut receiver = launch.arg(path).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(4, MIB)).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[4], PATIENCE);
    let report = receiver.report();
    assert_eq!((&report["outcome"], &report["exit_code"]), (&"failed".into(), &4.into()));
    let codes: Vec<_> = log(&receiver).iter().map(|line| line["exit_code"].clone()).collect();
    assert_eq!(codes, [0, 4]);
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

/// Fails unless the program's report is as docs/report.schema.json describes it.
fn must_be_as_described(program: &Program, definition: &str, outcome: &str) {
    let schema = serde_json::from_str(&page("docs/report.schema.json")).unwrap();
    let report = program.report();
    assert_eq!(schema::complaints(&schema, definition, &report), Vec::<String>::new(), "{report}");
    assert_eq!(report["outcome"], outcome, "{report}");
}

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The output of the page's commands for jq on these files, in the page's order.
fn answers_of_jq(report: &Path, log: &Path) -> Vec<String> {
    let page = page("docs/report.md");
    let commands =
        page.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("jq "));
    let answer = |command: &str| {
        let command = command
            .replace("/var/lib/mcast/reports.jsonl", &log.display().to_string())
            .replace("/var/lib/mcast/report.json", &report.display().to_string());
        let output = crate::blind::command("sh").args(["-c", &command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command}: {said} (scripts/test installs jq, which this test needs)"
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    };
    commands.map(answer).collect()
}

#[test]
fn reports_of_all_kinds_are_as_the_schema_describes_and_jq_reads_them_as_the_page_says() {
    let lab = Lab::up(2);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("reports.jsonl");
    let sender = |options: &[&str]| {
        let launch = lab.sender().send().arg("--report-log").arg(&log).args(options);
        launch.args(&["-l", "shop"]).source(Source::new(5, MIB))
    };
    let archive = directory.path().join("archive");
    std::fs::create_dir(&archive).unwrap();

    let mut archives = lab.host(1).recv("r1").args(&["--keep-last", "1", "--archive"]).arg(&archive).start();
    let mut complete = sender(&["-n", "1"]).start();
    complete.finish();
    complete.must_exit(&[0], PATIENCE);
    archives.must_exit(&[0], PATIENCE);
    must_be_as_described(&complete, "sender", "complete");
    must_be_as_described(&archives, "receiver", "complete");
    assert!(archives.report()["archive"]["entry"].is_string());

    let mut stopped = sender(&["-n", "1"]).start();
    let mut left = lab.host(1).recv("r1").start();
    stopped.feed_to(MIB / 2);
    left.must_deliver(MIB / 4, PATIENCE);
    stopped.signal(Signal::TERM);
    stopped.must_exit(&[143], AT_ONCE);
    left.must_exit(&[11], PATIENCE);
    must_be_as_described(&stopped, "sender", "aborted");
    must_be_as_described(&left, "receiver", "aborted");

    let mut alone = sender(&["-n", "1", "--start-timeout", "1s"]).start();
    alone.must_exit(&[4], PATIENCE);
    must_be_as_described(&alone, "sender", "failed");
    let mut waits = lab.host(1).recv("r1").args(&["--start-timeout", "1s"]).start();
    waits.must_exit(&[4], PATIENCE);
    must_be_as_described(&waits, "receiver", "failed");
    assert!(waits.report()["session"].is_null() && waits.report()["label"].is_null());

    let expects = ["-n", "2", "--expect-receivers", "r1,r2,gone", "--max-wait", "5s"];
    let mut partial = sender(&expects).start();
    let mut takes = lab.host(1).recv("r1").start();
    let mut fails = lab.host(2).recv("r2").runs("exit 3").start();
    partial.finish();
    partial.must_exit(&[3], PATIENCE);
    takes.must_exit(&[0], PATIENCE);
    fails.must_exit(&[9], PATIENCE);
    must_be_as_described(&partial, "sender", "partial");
    must_be_as_described(&takes, "receiver", "complete");
    must_be_as_described(&fails, "receiver", "failed");

    let (report, bytes) = (partial.report(), MIB);
    let answers = answers_of_jq(&partial.file("report.json"), &log);
    let [alert, missing, limit, last, age] = &answers[..] else { panic!("{answers:?}") };
    assert!(alert.starts_with("shop: partial, exit code 3: "), "{alert}");
    let (failed, missing) = missing.split_once('\n').unwrap();
    assert!(failed.starts_with("r2: ") && failed.contains("status 3"), "{failed}");
    assert_eq!(missing, "gone: missing");
    assert!(limit.ends_with(" s") && limit.contains(", "), "{limit}");
    let finished = report["finished"].as_str().unwrap();
    assert!(last.starts_with(&format!("{finished}: {bytes} bytes in ")), "{last}");
    assert_eq!(age, "0");
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
