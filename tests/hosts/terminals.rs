//! Output on a terminal: of any size, one that knows no commands, one that is stopped, and none at all.

use rustix::pipe::pipe;

use crate::support::program::Launch;
use crate::support::terminal::{Terminal, screen};
use crate::support::wait::comes_true;
use crate::support::{AT_ONCE, Lab, MIB, PATIENCE, Program, Source};

/// `mcast-send` without `-v`, as people start it.
fn sender(lab: &Lab, options: &[&str]) -> Launch {
    let command = lab.sender().command(env!("CARGO_BIN_EXE_mcast-send"));
    Launch::new(command, "sender").args(options).source(Source::new(1, 2 * MIB))
}

/// Starts the program at a terminal whose TERM is this.
fn sender_at(lab: &Lab, terminal: &Terminal, kind: &str, options: &[&str]) -> Launch {
    sender(lab, options).env("TERM", kind).stderr(terminal.program_end(), terminal.test_end())
}

/// Waits until the screen, which has so many columns, has a row with this text; gives its rows.
fn must_show(program: &Program, columns: usize, text: &str) -> Vec<String> {
    let look = || screen(&program.stderr_so_far(), columns);
    let shows = || look().iter().any(|row| row.contains(text));
    assert!(comes_true(PATIENCE, shows), "{text:?} is not in {:#?}", look());
    look()
}

/// Ends the session; gives what is left on the screen.
fn finished(sender: &mut Program, receivers: &mut [Program], columns: usize) -> Vec<String> {
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    for receiver in receivers {
        receiver.must_exit(&[0], PATIENCE);
    }
    screen(&sender.stderr(), columns)
}

fn has_time(row: &str) -> bool {
    let (time, _) = row.split_once(' ').unwrap_or_default();
    time.len() == 8 && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
}

#[test]
fn terminal_shows_short_lines_and_a_line_of_progress_that_leaves_nothing_behind() {
    let lab = Lab::up(1);
    let terminal = Terminal::of(120, 24);
    let mut receivers = [lab.host(1).recv("r1").start()];
    let mut sender = sender_at(&lab, &terminal, "xterm", &["-n", "1", "--size", "2M"]).start();
    sender.feed_to(MIB);
    let rows = must_show(&sender, 120, "1 MiB (50 %) · ");
    let live = rows.iter().filter(|row| !has_time(row)).count();
    assert_eq!(live, 1, "{rows:#?}");
    assert!(rows.last().is_some_and(|row| row.contains(" · 1/1 ready, 0 done · ")), "{rows:#?}");
    let rows = finished(&mut sender, &mut receivers, 120);
    assert!(rows.iter().all(|row| has_time(row) && !row.contains('=')), "{rows:#?}");
    let last = rows.last().unwrap();
    assert!(last.contains("2 MiB to 1 host in ") && last.ends_with(" s, verified"), "{last}");
}

#[test]
fn verbose_terminal_shows_fields_too() {
    let lab = Lab::up(1);
    let terminal = Terminal::of(120, 24);
    let mut receivers = [lab.host(1).recv("r1").start()];
    let mut sender = sender_at(&lab, &terminal, "xterm", &["-v", "-n", "1"]).start();
    let rows = finished(&mut sender, &mut receivers, 200);
    assert!(rows.iter().any(|row| has_time(row) && row.contains(" name=r1")), "{rows:#?}");
    assert!(!rows.iter().any(|row| row.contains("mcast::")), "{rows:#?}");
}

#[test]
fn dumb_terminal_and_one_of_no_kind_get_plain_lines_without_commands() {
    let lab = Lab::up(1);
    for kind in ["dumb", ""] {
        let terminal = Terminal::of(80, 24);
        let mut receivers = [lab.host(1).recv("r1").start()];
        let options = ["-n", "1", "--progress", "always"];
        let launch = sender_at(&lab, &terminal, kind, &options).env("MCAST_LABLE", "1");
        let mut sender = launch.start();
        sender.feed_to(MIB);
        sender.must_say(" · 1/1 ready, 0 done · ", PATIENCE);
        finished(&mut sender, &mut receivers, 80);
        let said = sender.stderr();
        assert!(said.contains(" warning: ") && !said.contains('\u{1b}'), "{kind:?}: {said:?}");
        assert_eq!(said.matches('\r').count(), said.matches("\r\n").count(), "{kind:?}: {said:?}");
    }
}

#[test]
fn colours_are_shown_where_they_are_wanted() {
    let lab = Lab::up(1);
    let plain = " warning: ";
    let coloured = " \u{1b}[33mwarning\u{1b}[0m: ";
    for (kind, no_color, options, expected) in [
        ("xterm", "", &[][..], coloured),
        ("xterm", "1", &[], plain),
        ("xterm", "1", &["--color", "always"], coloured),
        ("xterm", "", &["--color", "never"], plain),
        ("dumb", "", &[], plain),
    ] {
        let terminal = Terminal::of(80, 24);
        // A variable that looks like one of ours is warned of.
        let launch = sender_at(&lab, &terminal, kind, options).env("MCAST_LABLE", "1");
        let sender = launch.env("NO_COLOR", no_color).start();
        sender.must_say("MCAST_LABLE", PATIENCE);
        let said = sender.stderr_so_far();
        assert!(said.contains(expected), "{kind} {no_color:?} {options:?}: {said:?}");
    }
    for (options, expected) in [(&[][..], " WARN "), (&["--color", "always"], " \u{1b}[33m WARN\u{1b}[0m ")] {
        let sender = sender(&lab, options).env("TERM", "xterm").env("MCAST_LABLE", "1").start();
        sender.must_say("MCAST_LABLE", PATIENCE);
        let said = sender.stderr_so_far();
        assert!(said.contains(expected), "{options:?}: {said:?}");
    }
}

#[test]
fn narrow_terminal_cuts_the_line_of_progress_and_keeps_nothing_of_it() {
    let lab = Lab::up(1);
    for columns in [40, 12] {
        let terminal = Terminal::of(columns, 24);
        let mut receivers = [lab.host(1).recv("r1").start()];
        let mut sender = sender_at(&lab, &terminal, "xterm", &["-n", "1", "--size", "2M"]).start();
        sender.feed_to(MIB);
        let columns = usize::from(columns);
        let rows = must_show(&sender, columns, "1 MiB (50 %)");
        let live: Vec<_> = rows.iter().filter(|row| row.contains("MiB (")).collect();
        assert_eq!(live.len(), 1, "{columns}: {rows:#?}");
        let rows = finished(&mut sender, &mut receivers, columns);
        let left = rows.concat();
        assert!(!left.contains("50 %") && !left.contains(" · "), "{columns}: {rows:#?}");
    }
}

#[test]
fn line_of_progress_fits_the_terminal_after_a_change_of_its_size() {
    let lab = Lab::up(1);
    let terminal = Terminal::of(120, 24);
    let mut receivers = [lab.host(1).recv("r1").start()];
    let mut sender = sender_at(&lab, &terminal, "xterm", &["-n", "1", "--size", "2M"]).start();
    sender.feed_to(MIB);
    must_show(&sender, 120, "1 MiB (50 %)");
    terminal.resize(30, 24);
    // The second line that is drawn from now on has been measured after the change.
    let drawn = || sender.stderr_so_far().matches("1 MiB (50 %)").count();
    let so_far = drawn();
    assert!(comes_true(PATIENCE, || drawn() > so_far + 2));
    let said = sender.stderr_so_far();
    let newest = said.rsplit('\r').find(|part| part.contains("1 MiB (50 %)")).unwrap();
    let newest = screen(newest, 120);
    assert!(newest.iter().all(|row| row.chars().count() <= 30), "{newest:#?}");
    finished(&mut sender, &mut receivers, 120);
}

#[test]
fn every_receiver_has_a_line_and_the_slowest_have_one_where_there_is_little_room() {
    let lab = Lab::up(3);
    for (rows, more) in [(24, None), (4, Some("and 2 more"))] {
        let terminal = Terminal::of(100, rows);
        let mut receivers = [1, 2, 3].map(|h| lab.host(h).recv(&format!("r{h}")).start());
        let options = ["-n", "3", "--progress", "receivers"];
        let mut sender = sender_at(&lab, &terminal, "xterm", &options).start();
        sender.feed_to(MIB);
        let shown = must_show(&sender, 100, "  receiving  1 MiB");
        let lines = shown.iter().filter(|row| row.contains("  receiving  ")).count();
        assert_eq!(lines, if more.is_some() { 1 } else { 3 }, "{shown:#?}");
        assert_eq!(
            shown.last().map(String::as_str).filter(|last| last.starts_with("and")),
            more,
            "{shown:#?}"
        );
        let left = finished(&mut sender, &mut receivers, 100);
        assert!(left.iter().all(|row| has_time(row)), "{left:#?}");
    }
}

#[test]
fn log_in_json_has_the_numbers_of_progress() {
    let lab = Lab::up(2);
    let mut receivers = [1, 2].map(|h| lab.host(h).recv(&format!("r{h}")).start());
    let options = ["-n", "2", "--size", "2M", "--progress", "always", "--log-format", "json"];
    let mut sender = sender(&lab, &options).start();
    sender.feed_to(MIB);
    sender.must_say("1 MiB (50 %)", PATIENCE);
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    for receiver in &mut receivers {
        receiver.must_exit(&[0], PATIENCE);
    }
    let said = sender.stderr();
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let half = |line: &&serde_json::Value| {
        line["message"].as_str().is_some_and(|message| message.starts_with("1 MiB (50 %)"))
    };
    let line = lines.iter().find(half).unwrap();
    for (field, value) in [("bytes", MIB), ("expected_bytes", 2 * MIB), ("percent", 50), ("joined", 2)] {
        assert_eq!(line[field], value, "{line}");
    }
    for field in ["rate_bps", "elapsed_s", "ready", "done", "repair_share"] {
        assert!(line[field].is_number(), "{field}: {line}");
    }
    let last = lines.last().unwrap();
    assert_eq!((&last["bytes"], &last["receivers"]), (&(2 * MIB).into(), &2.into()), "{last}");
    assert!(last["seconds"].is_number(), "{last}");
}

#[test]
fn terminal_that_is_stopped_holds_up_neither_session_nor_end() {
    let lab = Lab::up(1);
    let terminal = Terminal::of(80, 24);
    let mut receiver = lab.host(1).recv("r1").start();
    // Much more than a terminal holds that nobody reads.
    let launch = sender(&lab, &["-n", "1", "-vv"]).env("TERM", "xterm");
    let mut sender = launch.stderr(terminal.program_end(), std::io::empty()).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
}

#[test]
fn closed_stderr_is_no_failure() {
    let lab = Lab::up(1);
    for progress in ["auto", "always"] {
        let mut receiver = lab.host(1).recv("r1").start();
        let (reads, writes) = pipe().unwrap();
        drop(reads);
        let options = ["-n", "1", "-v", "--progress", progress];
        let mut sender = sender(&lab, &options).stderr(writes, std::io::empty()).start();
        sender.finish();
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
    }
    // A failure has its exit code, although its message reaches nobody.
    let (reads, writes) = pipe().unwrap();
    drop(reads);
    let mut sender = sender(&lab, &["-i", "eth9"]).stderr(writes, std::io::empty()).start();
    sender.must_exit(&[10], AT_ONCE);
}
