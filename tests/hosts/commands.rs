//! Commands as source and sink: when they start, whose status counts, and who learns of it.

use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::obey::WAYS;
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, KIB, Lab, MIB, PATIENCE, Program, Source, all_exit};

fn must_appear(path: &Path) {
    assert!(comes_true(PATIENCE, || path.exists()), "no {}", path.display());
}

fn all_gone(programs: &[&Program]) {
    for program in programs {
        program.processes().must_be_gone(AT_ONCE);
    }
}

#[test]
fn streams_go_from_command_to_commands() {
    let lab = Lab::with(3, &["--loss", "2=1%"]);
    let source = Source::new(1, 8 * MIB);
    let mut receivers =
        [1, 2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).runs("cat; echo done >$D/done").start());
    let mut sender = lab.sender().send().args(&["-n", "3"]).source(source).runs("cat").start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(&mut receivers, 0, PATIENCE);
    for receiver in &receivers {
        receiver.must_have_delivered(source);
        assert!(receiver.file("done").exists());
    }
    all_gone(&[&sender, &receivers[0], &receivers[1], &receivers[2]]);
}

#[test]
fn source_command_starts_once_the_start_window_has_closed() {
    let lab = Lab::up(2);
    let mut first = lab.host(1).recv("r1").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).runs("touch $D/started; printf x").start();
    sender.must_have_joined("r1");
    assert!(!sender.file("started").exists());
    let mut second = lab.host(2).recv("r2").start();
    sender.must_exit(&[0], PATIENCE);
    assert!(sender.file("started").exists());
    first.must_exit(&[0], PATIENCE);
    second.must_exit(&[0], PATIENCE);
}

#[test]
fn source_command_is_not_started_for_nobody() {
    let lab = Lab::up(1);
    let mut sender = lab.sender().send().args(&["--start-timeout", "1s"]).runs("touch $D/started").start();
    sender.must_exit(&[4], PATIENCE);
    assert!(!sender.file("started").exists());
    all_gone(&[&sender]);
}

#[test]
fn sink_command_starts_with_the_session() {
    let lab = Lab::up(1);
    let mut receiver =
        lab.host(1).recv("r1").args(&["--start-timeout", "1s"]).runs("touch $D/started").start();
    receiver.must_exit(&[4], PATIENCE);
    assert!(!receiver.file("started").exists());
}

/// Fault 21: a sender whose command fails, for a receiver with a pipe, one with a file and one with a command. `script` makes
/// the sender's command from the path of a pipe, which is opened for reading and writing only once the receiver's command
/// has begun. Returns what the receiver with the command has said, and its report.
fn must_abort_every_receiver(script: impl FnOnce(&Path) -> String, words: &str) -> (String, Value) {
    let lab = Lab::with(3, &["--offload", "on"]);
    let mut piped = lab.host(1).recv("r1").start();
    let mut filed = lab.host(2).recv("r2").writes_file().start();
    let mut commanded =
        lab.host(3).recv("r3").runs("echo begun >$D/begun & cat >/dev/null; touch $D/end").start();
    let begun = commanded.file("begun");
    mknodat(CWD, &begun, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut sender = lab.sender().send().args(&["-n", "3"]).runs(&script(&begun)).start();
    sender.must_exit(&[8], PATIENCE);
    for receiver in [&mut piped, &mut filed, &mut commanded] {
        receiver.must_exit(&[11], PATIENCE);
    }
    filed.must_leave_no_file();
    all_gone(&[&sender, &commanded]);
    assert!(!commanded.file("end").exists(), "the command saw the end of its input");
    let said = sender.stderr();
    assert!(said.contains(words) && !said.contains("WARN mcast::session"), "{said}");
    for receiver in [&piped, &filed, &commanded] {
        assert!(receiver.stderr().contains(words), "{}", receiver.stderr());
        assert_eq!(receiver.report()["outcome"], "aborted");
    }
    // A reason is never empty, and each receiver's is the sender's own.
    for receiver in ["r1", "r2", "r3"] {
        let entry = sender.report_of(receiver);
        let error = entry["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("the sender gave up: ") && error.contains(words), "{entry}");
    }
    (commanded.stderr(), commanded.report())
}

/// The sender's command fails with `last` after it has run `first` and the receiver's command has begun.
fn failed_source(first: &str, last: &str, words: &str) {
    let script = |begun: &Path| format!("{first}; read -r line <{}; {last}", begun.display());
    let (said, report) = must_abort_every_receiver(script, words);
    // The abort is named as the cause for which the command was stopped, and is named once.
    let error = report["error"].as_str().unwrap_or_default();
    let why = "was stopped, because the sender ";
    assert!(error.contains(why) && error.contains("aborted: ") && error.contains(words), "{error}");
    // The thread that started the command may say so after the last message.
    let last = said.lines().rfind(|line| !line.contains(" DEBUG ")).unwrap_or_default();
    assert!(last.ends_with(error) && !said.contains("has failed"), "{said}");
    assert_eq!(error.matches("was killed by").count(), usize::from(words == "signal 9"), "{error}");
    assert!(!said.lines().any(|line| line.contains("WARN mcast::sink")), "{said}");
}

#[test]
fn source_command_that_fails_before_its_first_byte_aborts_every_receiver() {
    failed_source(":", "exit 3", "status 3");
}

#[test]
fn source_command_that_fails_after_one_byte_aborts_every_receiver() {
    failed_source("printf x", "exit 4", "status 4");
}

#[test]
fn source_command_that_fails_after_a_gigabyte_aborts_every_receiver() {
    failed_source("head -c 1000000000 /dev/zero", "exit 5", "status 5");
}

#[test]
fn source_command_that_is_killed_aborts_every_receiver() {
    failed_source("head -c 1000000 /dev/zero", "kill -KILL $$", "signal 9");
}

/// Whether the receivers have heard by then that the session has started is open.
#[test]
fn source_command_that_fails_at_once_aborts_every_receiver() {
    for (script, words) in [("exit 3", "status 3"), ("printf x; exit 4", "status 4")] {
        must_abort_every_receiver(|_| script.to_owned(), words);
    }
}

#[test]
fn source_that_cannot_be_read_aborts_every_receiver() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").start();
    // There is nothing at address 0 of a process's memory: an input/output error.
    let mut sender = lab.sender().send().args(&["-n", "1", "-f", "/proc/self/mem"]).start();
    sender.must_exit(&[8], PATIENCE);
    receiver.must_exit(&[11], PATIENCE);
    assert!(receiver.stderr().contains("/proc/self/mem"), "{}", receiver.stderr());
}

#[test]
fn failing_source_ends_with_all_that_it_has_started() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").start();
    // The sleeper holds the pipe open, so no end of file comes by itself.
    let mut sender = lab.sender().send().args(&["-n", "1"]).runs("sleep 1000 & exit 6").start();
    sender.must_exit(&[8], PATIENCE);
    receiver.must_exit(&[11], PATIENCE);
    all_gone(&[&sender]);
}

#[test]
fn source_has_ended_when_the_last_of_its_group_has() {
    let lab = Lab::up(1);
    let source = Source::new(2, 3 * MIB);
    let mut receiver = lab.host(1).recv("r1").start();
    let mut sender =
        lab.sender().send().args(&["-n", "1"]).source(source).runs("exec 3<&0; cat <&3 & exit 0").start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
    all_gone(&[&sender]);
}

#[test]
fn sink_command_that_fails_at_the_end_is_9_and_its_status_is_in_the_senders_report() {
    let lab = Lab::up(2);
    let source = Source::new(3, 2 * MIB);
    let mut fails = lab.host(1).recv("r1").runs("cat >/dev/null; exit 42").start();
    let mut other = lab.host(2).recv("r2").runs("cat").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    fails.must_exit(&[9], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_delivered(source);
    let entry = sender.report_of("r1");
    assert_eq!(entry["exit_code"], 9, "{entry}");
    assert!(entry["error"].as_str().is_some_and(|error| error.contains("status 42")), "{entry}");
    assert!(sender.report_of("r2")["error"].is_null());
    all_gone(&[&fails, &other]);
}

#[test]
fn sink_command_that_fails_in_mid_stream_is_told_at_once() {
    let lab = Lab::up(2);
    let source = Source::new(4, 8 * MIB);
    let mut fails = lab.host(1).recv("r1").runs("head -c 1000 >/dev/null; exit 7").start();
    let mut other = lab.host(2).recv("r2").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.feed_to(MIB);
    // The source is silent, and the stream far from its end.
    fails.must_exit(&[9], PATIENCE);
    sender.finish();
    sender.must_exit(&[3], PATIENCE);
    other.must_exit(&[0], PATIENCE);
    other.must_have_delivered(source);
    assert!(fails.stderr().contains("status 7"), "{}", fails.stderr());
}

#[test]
fn sink_command_that_fails_while_nothing_flows_is_told_at_once() {
    let lab = Lab::up(1);
    let mut fails = lab.host(1).recv("r1").runs("exec false").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(5, MIB)).start();
    fails.must_exit(&[9], PATIENCE);
    sender.must_exit(&[5, 9], PATIENCE);
}

#[test]
fn sink_command_that_fails_is_told_of_once_and_one_of_two_outputs_when_it_fails() {
    let lab = Lab::up(2);
    let source = Source::new(15, MIB);
    let mut alone = lab.host(1).recv("r1").runs("cat >/dev/null; kill -KILL $$").start();
    let mut beside = lab.host(2).recv("r2").writes_file().runs("exit 7").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    beside.must_say("exited with status 7; the other outputs go on", PATIENCE);
    sender.finish();
    sender.must_exit(&[9], PATIENCE);
    alone.must_exit(&[9], PATIENCE);
    beside.must_exit(&[9], PATIENCE);
    beside.must_have_written(source);
    let said = alone.stderr();
    let told = said.lines().filter(|line| line.contains("was killed by signal 9") && !line.contains("DEBUG"));
    assert!(told.count() == 1 && !said.contains("was stopped"), "{said}");
    // Both reasons, each with the name of its receiver.
    let said = sender.stderr();
    let line = said.lines().last().unwrap_or_default();
    let (first, second) = (
        line.find("r1: command \"sh -c cat …\": was killed by signal 9"),
        line.find("r2: command \"sh -c exit …\": exited with status 7"),
    );
    assert!(first.is_some() && first < second, "{line}");
}

#[test]
fn sink_command_that_is_stopped_by_a_signal_to_its_receiver_is_not_said_to_have_been_killed() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").runs("touch $D/started; cat >/dev/null").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(16, MIB)).start();
    let started = receiver.file("started");
    assert!(comes_true(PATIENCE, || started.exists()));
    receiver.signal(Signal::TERM);
    receiver.must_exit(&[143], PATIENCE);
    sender.must_exit(&[5], PATIENCE);
    let said = receiver.stderr();
    assert!(said.contains("stopped by SIGTERM; command \"sh -c touch …\" was stopped"), "{said}");
    assert!(!said.contains("killed") && !said.contains("WARN mcast::sink"), "{said}");
}

/// Fault 19, first case: `pg_restore -l` reads what it needs.
#[test]
fn sink_command_that_closes_its_input_early_and_exits_0_is_a_success_with_a_note() {
    let lab = Lab::up(2);
    let source = Source::new(6, 8 * MIB);
    let mut early = lab.host(1).recv("r1").runs("head -c 1000 | wc -c").start();
    let mut lingers =
        lab.host(2).recv("r2").runs("exec <&-; while ! [ -e $D/go ]; do sleep 0.01; done").start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    sender.finish();
    early.must_exit(&[0], PATIENCE);
    assert_eq!(early.report()["bytes"], source.len());
    assert!(early.stderr().contains("wanted no more after"), "{}", early.stderr());
    // It has closed its input and is still at work; only its status is waited for.
    std::fs::write(lingers.file("go"), "").unwrap();
    lingers.must_exit(&[0], PATIENCE);
    sender.must_exit(&[0], PATIENCE);
}

/// Fault 19, second case.
#[test]
fn sink_command_that_closes_its_input_early_and_exits_1_is_a_failure() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").runs("exec <&-; sleep 0.3; exit 1").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(Source::new(7, 8 * MIB)).start();
    sender.finish();
    receiver.must_exit(&[9], PATIENCE);
    sender.must_exit(&[9], PATIENCE);
}

#[test]
fn empty_stream_reaches_a_command() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").runs("wc -c >$D/count").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).runs("true").start();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    assert_eq!(std::fs::read_to_string(receiver.file("count")).unwrap().trim(), "0");
}

#[test]
fn file_and_command_each_get_the_stream() {
    let lab = Lab::up(1);
    let source = Source::new(8, 4 * MIB);
    let mut receiver = lab.host(1).recv("r1").writes_file().runs("cat").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
    receiver.must_have_written(source);
}

#[test]
fn command_that_fails_fails_the_receiver_and_not_the_file_beside_it() {
    for (seed, script) in [(9, "head -c 1000 >/dev/null; exit 3"), (10, "cat >/dev/null; exit 3")] {
        let lab = Lab::up(1);
        let source = Source::new(seed, 4 * MIB);
        let mut receiver = lab.host(1).recv("r1").writes_file().runs(script).start();
        let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
        sender.finish();
        receiver.must_exit(&[9], PATIENCE);
        sender.must_exit(&[9], PATIENCE);
        receiver.must_have_written(source);
        all_gone(&[&receiver]);
    }
}

#[test]
fn file_that_fails_fails_the_receiver_and_not_the_command_beside_it() {
    let lab = Lab::up(1);
    let source = Source::new(11, 4 * MIB);
    let launch = lab.host(1).recv("r1").arg("-o").arg("/dev/full");
    // A device is refused at once; a full disk shows later.
    let mut refused = launch.runs("cat").start();
    refused.must_exit(&[9], PATIENCE);
    const ON_A_MEGABYTE: &str = "mount -t tmpfs -o size=1m tmpfs /mnt && exec \"$@\"";
    let mut command = lab.host(1).command("unshare");
    command.args(["--mount", "sh", "-c", ON_A_MEGABYTE, "receiver", env!("CARGO_BIN_EXE_mcast-recv")]);
    let launch = crate::support::program::Launch::new(command, "receiver r1");
    let mut receiver = launch.args(&["--name", "r1", "-o", "/mnt/copy"]).runs("cat; touch $D/end").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.finish();
    receiver.must_exit(&[9], PATIENCE);
    sender.must_exit(&[9], PATIENCE);
    receiver.must_have_delivered(source);
    assert!(receiver.file("end").exists());
    assert!(receiver.stderr().contains("o space left"), "{}", receiver.stderr());
}

#[test]
fn then_runs_once_the_file_is_in_place_and_its_status_counts() {
    for (seed, line, code) in [(12, "cp {file} {file}.again", 0), (13, "cp {file} {file}.again; exit 5", 9)] {
        let lab = Lab::up(1);
        let source = Source::new(seed, 2 * MIB);
        let mut receiver = lab.host(1).recv("r1").writes_file().args(&["--then", line]).start();
        let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
        sender.finish();
        receiver.must_exit(&[code], PATIENCE);
        sender.must_exit(&[code], PATIENCE);
        receiver.must_have_written(source);
        let again = std::fs::metadata(receiver.output().with_extension("again")).unwrap();
        assert_eq!(again.len(), source.len());
        all_gone(&[&receiver]);
    }
}

#[test]
fn sender_waits_for_a_then_that_takes_longer_than_the_peer_timeout() {
    let lab = Lab::up(1);
    let hasty = ["--peer-timeout", "500ms"];
    let wait = "touch {file}.working; while ! [ -e {file}.go ]; do sleep 0.01; done";
    let mut receiver = lab.host(1).recv("r1").args(&hasty).writes_file().args(&["--then", wait]).start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).args(&hasty).source(Source::new(14, KIB)).start();
    sender.finish();
    must_appear(&receiver.output().with_extension("working"));
    assert!(sender.ends(Duration::from_secs(2)).is_none());
    std::fs::write(receiver.output().with_extension("go"), "").unwrap();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
}

#[test]
fn what_a_sink_command_prints_never_gets_into_the_stream() {
    let lab = Lab::up(1);
    let source = Source::new(15, MIB);
    let mut receiver = lab.host(1).recv("r1").args(&["-o", "-"]).runs("echo loud; cat >/dev/null").start();
    let mut sender = lab.sender().send().args(&["-n", "1"]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);
    assert!(receiver.stderr().contains("loud"));
}

/// Fault 47.
#[test]
fn receiver_warns_of_a_command_that_passes_the_stream_on() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").runs("cat | ssh db psql -1").start();
    receiver.must_say("\"ssh\" passes the stream on", PATIENCE);
    receiver.must_say("waiting for a sender", PATIENCE);
    WAYS[0].stops(&mut receiver);
    let said = receiver.stderr();
    assert!(said.contains("--then"), "{said}");
}

#[test]
fn peers_and_reports_are_told_of_a_shell_line_without_its_arguments() {
    let lab = Lab::up(1);
    let mut receiver = lab.host(1).recv("r1").start();
    let line = "PGPASSWORD=hunter2 false --user hunter3";
    let mut sender = lab.sender().send().args(&["-n", "1"]).runs(line).start();
    sender.must_exit(&[8], PATIENCE);
    receiver.must_exit(&[11], PATIENCE);
    let told =
        [sender.stderr(), sender.report().to_string(), receiver.stderr(), receiver.report().to_string()];
    for text in told {
        assert!(text.contains("sh -c false") && !text.contains("hunter"), "{text}");
    }
}
