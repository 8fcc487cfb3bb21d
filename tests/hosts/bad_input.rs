//! What is wrong on the command line ends at once, in one line that names the value and the remedy.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::support::program::Launch;
use crate::support::{AT_ONCE, KIB, Lab, Source};

/// Ends with one of these codes, and one line that contains `value` and at least one of the words of `remedy`.
fn must_be_refused(launch: Launch, codes: &[u8], value: &str, remedy: &[&str]) {
    let mut program = launch.start();
    program.must_exit(codes, AT_ONCE);
    let said = program.stderr();
    let complaints: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(complaints.len(), 1, "more or less than one line: {said}");
    assert!(said.contains(value), "does not name {value:?}: {said}");
    assert!(remedy.iter().any(|word| said.contains(word)), "none of {remedy:?}: {said}");
}

/// A sender without the harness's `-v`, so that all it says is its complaint.
fn send(lab: &Lab, arguments: &[&str]) -> Launch {
    let command = lab.sender().command(env!("CARGO_BIN_EXE_mcast-send"));
    Launch::new(command, "sender").args(arguments).source(Source::new(1, KIB))
}

fn recv(lab: &Lab, arguments: &[&str]) -> Launch {
    let command = lab.host(1).command(env!("CARGO_BIN_EXE_mcast-recv"));
    Launch::new(command, "receiver").args(arguments)
}

#[test]
fn interfaces_and_addresses_that_cannot_be_used_are_refused() {
    let lab = Lab::up(1);
    for program in [send, recv] {
        must_be_refused(program(&lab, &["-i", "eth9"]), &[10], "eth9", &["eth0"]);
        must_be_refused(program(&lab, &["-i", "192.0.2.1"]), &[10], "192.0.2.1", &["10.77.0", "eth0"]);
        must_be_refused(program(&lab, &["-g", "10.1.2.3"]), &[2], "10.1.2.3", &["239."]);
        must_be_refused(program(&lab, &["-g", "fd77::1"]), &[2], "fd77::1", &["ff"]);
        must_be_refused(program(&lab, &["-g", "nonsense"]), &[2], "nonsense", &["239."]);
        must_be_refused(program(&lab, &["-p", "65536"]), &[2], "65536", &["65535"]);
        must_be_refused(program(&lab, &["-p", "0"]), &[2], "0", &["65535", "1"]);
        must_be_refused(
            program(&lab, &["-b", "-g", "ff15::1"]),
            &[2],
            "ff15::1",
            &["IPv4", "--broadcast", "-b"],
        );
        must_be_refused(program(&lab, &["-b", "-i", "lo"]), &[2, 10], "lo", &["broadcast"]);
    }
}

#[test]
fn port_that_another_program_holds_is_refused() {
    let lab = Lab::up(1);
    let _held = lab.sender().socket("0.0.0.0:7767".parse().unwrap());
    must_be_refused(send(&lab, &[]), &[10], "7767", &["--port", "-p"]);
    let _held = lab.host(1).socket("0.0.0.0:7767".parse().unwrap());
    must_be_refused(recv(&lab, &[]), &[10], "7767", &["--port", "-p"]);
}

#[test]
fn sources_that_cannot_be_read_are_refused() {
    let lab = Lab::up(1);
    must_be_refused(
        send(&lab, &["-f", "/no/such/dump"]),
        &[8],
        "/no/such/dump",
        &["--file", "-f", "stdin", "path"],
    );
    must_be_refused(send(&lab, &["-f", "/proc"]), &[8], "/proc", &["director"]);
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_a_sender_is_sought() {
    let lab = Lab::up(1);
    for path in ["/no/such/directory/copy", "/sys/kernel/copy"] {
        must_be_refused(recv(&lab, &["-o", path]), &[9], path, &["director", "--output", "-o"]);
    }
    must_be_refused(recv(&lab, &["-o", "/proc"]), &[9, 2], "/proc", &["director"]);
}

#[test]
fn labels_and_names_that_could_mislead_are_refused() {
    let lab = Lab::up(1);
    let long = "x".repeat(65);
    for label in ["a/b", "../a", "", "a b", "a\nb", "\u{1b}[31m", "ä", &long] {
        // A terminal must not be led astray by what is wrong with a value.
        let value = if label.chars().any(char::is_control) { "--label" } else { label };
        must_be_refused(send(&lab, &["-l", label]), &[2], value, &["A-Z", "a-z"]);
    }
    must_be_refused(recv(&lab, &["--expect", "a/b"]), &[2], "a/b", &["A-Z", "a-z"]);
    for name in ["", "a\nb", "\u{1b}[31m"] {
        must_be_refused(
            recv(&lab, &["--name", name]),
            &[2],
            "--name",
            &["A-Z", "a-z", "character", "printable"],
        );
    }
}

#[test]
fn start_windows_that_contradict_themselves_are_refused() {
    let lab = Lab::up(1);
    must_be_refused(send(&lab, &["--min-wait", "10s", "--max-wait", "5s"]), &[2], "10s", &["--max-wait"]);
    must_be_refused(send(&lab, &["-n", "5", "--max-receivers", "3"]), &[2], "5", &["--max-receivers"]);
    must_be_refused(send(&lab, &["-n", "0"]), &[2], "0", &["1"]);
    must_be_refused(send(&lab, &["-n", "three"]), &[2], "three", &["number", "1"]);
}

#[test]
fn values_without_sense_are_refused() {
    let lab = Lab::up(1);
    must_be_refused(send(&lab, &["--size", "12Q"]), &[2], "12Q", &["16M", "64K", "2G"]);
    must_be_refused(send(&lab, &["--size", "-1"]), &[2], "-1", &["--size"]);
    must_be_refused(send(&lab, &["--window", "99999999T"]), &[2], "99999999T", &["--window"]);
    must_be_refused(recv(&lab, &["--buffer", "many"]), &[2], "many", &["16M", "64K", "2G"]);
    must_be_refused(send(&lab, &["--rate", "fast"]), &[2], "fast", &["900M", "2.5G"]);
    must_be_refused(send(&lab, &["--rate", "0"]), &[2], "0", &["--rate"]);
    must_be_refused(send(&lab, &["--mtu", "20"]), &[2], "20", &["--mtu"]);
    must_be_refused(send(&lab, &["--peer-timeout", "soon"]), &[2], "soon", &["500ms", "5s", "2m"]);
    must_be_refused(recv(&lab, &["--start-timeout", "-5s"]), &[2], "-5s", &["--start-timeout"]);
    must_be_refused(send(&lab, &["--ttl", "256"]), &[2], "256", &["255"]);
    must_be_refused(send(&lab, &["--frobnicate"]), &[2], "--frobnicate", &["--help"]);
    must_be_refused(recv(&lab, &["--frobnicate"]), &[2], "--frobnicate", &["--help"]);
}

#[test]
fn terminal_is_neither_a_source_nor_a_sink() {
    let lab = Lab::up(1);
    let (_controller, terminal) = terminal();
    let sender =
        Launch::new(lab.sender().command(env!("CARGO_BIN_EXE_mcast-send")), "sender").stdin(terminal);
    must_be_refused(sender, &[2], "stdin", &["pipe", "--file", "-f"]);
    let (_controller, terminal) = self::terminal();
    must_be_refused(recv(&lab, &[]).stdout(terminal), &[2], "stdout", &["pipe", "--output", "-o"]);
}

/// Both ends of a terminal: the one to keep, and the one for a program.
fn terminal() -> (OwnedFd, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let terminal = ioctl_tiocgptpeer(&controller, flags).unwrap();
    (controller, terminal.into())
}
