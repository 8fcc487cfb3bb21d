//! Bad input at the command line: one line that names value and remedy, and the code from the table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

use std::fs;
use std::net::UdpSocket;
use std::process::Stdio;

use assert_cmd::Command;

/// Runs the program with an empty pipe as standard input and a pipe as standard output, and expects it to fail with this
/// code in one line on stderr that has all these parts.
fn fails(program: &str, args: &[&str], code: i32, parts: &[&str]) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin(program));
    let output = command.args(["-q", "--start-timeout", "1ms"]).args(args).write_stdin("").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{program} {args:?}: {text}");
    assert!(
        text.starts_with(&format!("{program}: ")) && text.trim_end().lines().count() == 1,
        "{args:?}: {text}"
    );
    assert!(output.stdout.is_empty(), "{args:?}");
    for part in parts {
        assert!(text.contains(part), "{program} {args:?}: \"{part}\" is not in: {text}");
    }
}

#[test]
fn an_unknown_interface_is_named_and_the_known_ones_listed() {
    for program in ["mcast-send", "mcast-recv"] {
        fails(program, &["-i", "eth99"], 10, &["eth99", "lo"]);
        fails(program, &["-i", "192.0.2.99"], 10, &["192.0.2.99", "lo"]);
        fails(program, &["-i", "lo", "-b"], 10, &["lo", "broadcast"]);
    }
}

#[test]
fn an_address_that_is_no_group_is_refused() {
    for program in ["mcast-send", "mcast-recv"] {
        fails(program, &["-g", "192.0.2.1"], 2, &["--group 192.0.2.1", "239."]);
        fails(program, &["-g", "everyone"], 2, &["--group everyone", "239."]);
    }
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails("mcast-send", &["-i", "lo", "-p", &port], 10, &[&port, "in use", "-p"]);
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails("mcast-recv", &["-i", "lo", "-p", &port], 10, &[&port, "in use", "-p"]);
}

#[test]
fn a_file_that_cannot_be_read_fails_as_a_source() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.dump");
    fails(
        "mcast-send",
        &["-i", "lo", "-f", missing.to_str().unwrap()],
        8,
        &["missing.dump", "check the path"],
    );
    fails("mcast-send", &["-i", "lo", "-f", directory.path().to_str().unwrap()], 8, &["tar"]);
}

#[test]
fn a_directory_that_cannot_be_written_fails_as_a_sink() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/a.dump");
    fails(
        "mcast-recv",
        &["-i", "lo", "-o", path.to_str().unwrap()],
        9,
        &["missing/a.dump", "create the directory"],
    );
    fails("mcast-recv", &["-i", "lo", "-o", "/proc/a.dump"], 9, &["/proc/a.dump"]);
    fails("mcast-recv", &["-i", "lo", "-o", "/dev/null"], 9, &["/dev/null", "redirect"]);
}

#[test]
fn values_that_make_no_sense_are_refused() {
    fails("mcast-send", &["-l", "a/b"], 2, &["--label a/b"]);
    fails("mcast-send", &["--min-wait", "2m", "--max-wait", "1m"], 2, &["--min-wait 2m", "--max-wait 1m"]);
    fails("mcast-send", &["--size", "10X"], 2, &["--size 10X", "16M"]);
    fails("mcast-send", &["--max-stall", "0"], 2, &["--max-stall 0", "at least 1s"]);
    fails("mcast-send", &["--max-stall", "soon"], 2, &["--max-stall soon", "5s"]);
    fails("mcast-recv", &["--expect", "../x"], 2, &["--expect ../x"]);
    fails("mcast-recv", &["--name", "a\u{1b}[2J"], 2, &["--name a\\u{1b}[2J"]);
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/report.json");
    fails(
        "mcast-send",
        &["--report", path.to_str().unwrap()],
        10,
        &["missing/report.json", "choose another"],
    );
    fails("mcast-recv", &["--report", "/dev/stdout"], 2, &["/dev/stdout", "stream"]);
}

#[test]
fn a_value_from_the_environment_is_named_as_it_was_written() {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mcast-send"));
    let output = command.env("MCAST_RATE", "fast").write_stdin("").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("MCAST_RATE=fast"), "{text}");
}

#[test]
fn a_failure_is_in_the_report_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    fails("mcast-recv", &["-i", "eth99", "--report", path.to_str().unwrap()], 10, &["eth99"]);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&report["role"], &report["outcome"]), (&"receiver".into(), &"failed".into()));
    assert_eq!(report["exit_code"], 10);
    assert!(report["error"].as_str().unwrap().contains("eth99"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn terminals_carry_no_stream() {
    // script(1) gives a terminal to what it runs, and passes its exit code on.
    for (program, part) in [("mcast-send", "-f"), ("mcast-recv", "-o")] {
        let program = assert_cmd::cargo::cargo_bin(program);
        let output = std::process::Command::new("script")
            .args(["-qec", program.to_str().unwrap(), "/dev/null"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("is a terminal") && text.contains(part), "{text}");
    }
}

/// Started with a closed standard stream, as some supervisors do, a program is given /dev/null in its place.
#[test]
fn a_closed_standard_stream_is_neither_an_empty_stream_nor_a_place_for_one() {
    let closed = |program: &str, redirection: &str| {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("exec \"$0\" -q -i lo --start-timeout 1ms {redirection}")])
            .arg(assert_cmd::cargo::cargo_bin(program))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (program, redirection, code, part) in [
        ("mcast-send", "<&-", 8, "standard input: it is closed"),
        ("mcast-recv", ">&-", 9, "standard output: it is closed"),
        ("mcast-send", "0>/dev/null", 8, "standard input: it is open the wrong way"),
        ("mcast-recv", "1</dev/null", 9, "standard output: it is open the wrong way"),
        // Meant as they are written.
        ("mcast-send", "</dev/null", 4, "0 of 1 receivers"),
        ("mcast-recv", ">/dev/null", 4, "no sender was heard"),
    ] {
        let (exit, text) = closed(program, redirection);
        assert_eq!(exit, Some(code), "{program} {redirection}: {text}");
        assert!(text.contains(part), "{program} {redirection}: {text}");
    }
}
