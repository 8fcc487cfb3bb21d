//! What cannot work on this host ends at once, in one line that names the value and the remedy.
//!
//! `tests/bad_input.rs` has the values that are wrong on any machine; here are those that only a host with its own
//! interfaces, ports and terminals shows, and values made to mislead whoever reads the complaint.

use crate::support::program::Launch;
use crate::support::terminal::Terminal;
use crate::support::{AT_ONCE, KIB, Lab, Source};

/// Ends with this code, and one line that contains all these words.
fn must_be_refused(launch: Launch, code: u8, words: &[&str]) {
    let mut program = launch.start();
    program.must_exit(&[code], AT_ONCE);
    let said = program.stderr();
    assert_eq!(said.lines().count(), 1, "more or less than one line: {said}");
    assert!(!said.trim_end().contains(char::is_control), "could lead a terminal astray: {said:?}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

fn send(lab: &Lab, arguments: &[&str]) -> Launch {
    let command = lab.sender().command(env!("CARGO_BIN_EXE_mcast-send"));
    Launch::new(command, "sender").arg("-q").args(arguments).source(Source::new(1, KIB))
}

fn recv(lab: &Lab, arguments: &[&str]) -> Launch {
    let command = lab.host(1).command(env!("CARGO_BIN_EXE_mcast-recv"));
    Launch::new(command, "receiver").arg("-q").args(arguments)
}

#[test]
fn interfaces_that_the_host_does_not_have_are_named_with_those_it_has() {
    let lab = Lab::up(1);
    for program in [send, recv] {
        must_be_refused(program(&lab, &["-i", "eth9"]), 10, &["eth9", "eth0"]);
        must_be_refused(program(&lab, &["-i", "192.0.2.1"]), 10, &["192.0.2.1", "eth0"]);
    }
}

#[test]
fn host_without_a_way_to_the_group_says_what_is_missing() {
    let lab = Lab::up(1);
    for h in [0, 1] {
        assert!(lab.host(h).command("ip").args(["link", "set", "eth0", "down"]).status().unwrap().success());
    }
    for program in [send, recv] {
        must_be_refused(program(&lab, &[]), 10, &["239.255.77.67", "-i"]);
        must_be_refused(program(&lab, &["-i", "eth0"]), 10, &["eth0", "up"]);
        must_be_refused(program(&lab, &["-g", "ff15::1"]), 10, &["ff15::1", "-i"]);
    }
}

#[test]
fn port_that_another_program_holds_is_refused() {
    let lab = Lab::up(1);
    let _held = [0, 1].map(|h| lab.host(h).socket("0.0.0.0:7767".parse().unwrap()));
    for program in [send, recv] {
        must_be_refused(program(&lab, &[]), 10, &["7767", "in use", "-p"]);
    }
}

#[test]
fn labels_and_names_that_could_mislead_are_refused() {
    let lab = Lab::up(1);
    let long = "x".repeat(65);
    for label in ["a/b", "..", "../a", "", "a b", "a\nb", "\u{1b}[31m", "ä", &long] {
        must_be_refused(send(&lab, &["-l", label]), 2, &["--label", "letter"]);
        must_be_refused(recv(&lab, &["--expect", label]), 2, &["--expect", "letter"]);
    }
    for name in ["", "a\nb", "\u{1b}[31m"] {
        must_be_refused(recv(&lab, &["--name", name]), 2, &["--name"]);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let lab = Lab::up(1);
    for (option, value) in [
        ("--port", "65536"),
        ("--port", "0"),
        ("--ttl", "256"),
        ("--min-receivers", "0"),
        ("--min-receivers", "three"),
        ("--rate", "0"),
        ("--rate", "fast"),
        ("--mtu", "20"),
        ("--mtu", "70000"),
        ("--window", "99999999T"),
        ("--peer-timeout", "soon"),
        ("--start-timeout", "-5s"),
        ("--size", "-1"),
    ] {
        must_be_refused(send(&lab, &[&format!("{option}={value}")]), 2, &[&format!("{option} {value}")]);
    }
    must_be_refused(
        send(&lab, &["-n", "5", "--max-receivers", "3"]),
        2,
        &["--min-receivers 5", "--max-receivers 3"],
    );
    must_be_refused(send(&lab, &["-b", "-g", "ff15::1"]), 2, &["ff15::1", "--broadcast"]);
    must_be_refused(recv(&lab, &["--buffer", "99999999T"]), 2, &["--buffer 99999999T"]);
}

#[test]
fn terminal_is_neither_a_source_nor_a_sink() {
    let lab = Lab::up(1);
    let terminal = Terminal::of(80, 24);
    let sender = Launch::new(lab.sender().command(env!("CARGO_BIN_EXE_mcast-send")), "sender")
        .stdin(terminal.program_end());
    must_be_refused(sender, 2, &["standard input is a terminal", "-f"]);
    must_be_refused(
        recv(&lab, &[]).stdout(terminal.program_end()),
        2,
        &["standard output is a terminal", "-o"],
    );
}
