//! Bad input at the command line: one line that names value and remedy, and the code from the table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

use std::fs;
use std::net::UdpSocket;
use std::process::Stdio;

use assert_cmd::Command;

#[path = "common/blind.rs"]
mod blind;

/// One of the programs, blind to this machine.
fn program(name: &str) -> Command {
    Command::from_std(blind::command(assert_cmd::cargo::cargo_bin(name)))
}

/// Runs the program with an empty pipe as standard input and a pipe as standard output, and expects it to fail with this
/// code in one line on stderr that has all these parts.
fn fails(program: &str, args: &[&str], code: i32, parts: &[&str]) {
    let mut command = self::program(program);
    let output = command
        .args(["-q", "--no-key", "--start-timeout", "1ms"])
        .args(args)
        .write_stdin("")
        .output()
        .unwrap();
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
    fails("mcast-send", &["--max-stall", "soon"], 2, &["--max-stall soon", "5min"]);
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
    let mut command = program("mcast-send");
    let output = command.env("MCAST_RATE", "fast").write_stdin("").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("MCAST_RATE=fast"), "{text}");
}

/// Sender and receiver without a peer, with these variables. Both exit with this code and say these words.
fn with_variables(variables: &[(&str, &str)], code: i32, parts: &[&str]) -> String {
    let mut all = String::new();
    for name in ["mcast-send", "mcast-recv"] {
        let mut command = program(name);
        command.args(["--no-key", "--start-timeout", "1ms"]).envs(variables.iter().copied());
        let output = command.write_stdin("").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{name} {variables:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "{name} {variables:?}: \"{part}\" is not in: {text}");
        }
        all.push_str(&text);
    }
    all
}

/// The variables of all options, as the help has the options.
fn variables_of_all_options() -> Vec<String> {
    let mut names = Vec::new();
    for name in ["mcast-send", "mcast-recv"] {
        let help = String::from_utf8(program(name).arg("--help").output().unwrap().stdout).unwrap();
        let options = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
        let options = options.map(|option| option.trim_end_matches(|c: char| !c.is_ascii_lowercase()));
        names.extend(
            options
                .filter(|option| !["", "help", "version"].contains(option))
                .map(|option| format!("MCAST_{}", option.replace('-', "_").to_uppercase())),
        );
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn empty_variable_is_an_unset_one_for_every_option() {
    let names = variables_of_all_options();
    assert!(names.len() > 30 && names.contains(&"MCAST_QUIET".to_owned()), "{names:?}");
    let mut empty: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    empty.extend([
        ("MCAST_LOG", ""),
        ("CREDENTIALS_DIRECTORY", ""),
        ("NOTIFY_SOCKET", ""),
        ("MCAST_PORTS", ""),
    ]);
    empty.push(("MCAST_INTERFACE", "lo"));
    let text = with_variables(&empty, 4, &["interface=lo"]);
    assert!(!text.contains("ignored") && !text.contains("MCAST_"), "{text}");
}

#[test]
fn variables_of_a_service_named_mcast_set_nothing_and_are_named() {
    let linked = [
        ("MCAST_INTERFACE", "lo"),
        ("MCAST_PORT", "tcp://10.0.0.1:7767"),
        ("MCAST_NAME", "/backup/mcast"),
        ("MCAST_SERVICE_HOST", "10.0.0.1"),
        ("MCAST_SERVICE_PORT", "7767"),
        ("MCAST_PORT_7767_UDP", "udp://10.0.0.1:7767"),
        ("MCAST_PORT_7767_UDP_PROTO", "udp"),
    ];
    let parts = ["MCAST_PORT=\"tcp://10.0.0.1:7767\"", "MCAST_NAME=\"/backup/mcast\"", "Kubernetes", ":7767"];
    let text = with_variables(&linked, 4, &parts);
    assert!(!text.contains("MCAST_SERVICE") && !text.contains("_UDP"), "{text}");
}

#[test]
fn mistaken_variable_is_named_with_its_value_and_the_remedy() {
    with_variables(&[("MCAST_PORT", "http")], 2, &["MCAST_PORT=http"]);
    with_variables(&[("MCAST_QUIET", "maybe")], 2, &["MCAST_QUIET=maybe", "true"]);
    with_variables(&[("MCAST_VERBOSE", "debug")], 2, &["MCAST_VERBOSE=debug"]);
    with_variables(&[("MCAST_PROGRESS", "loud")], 2, &["MCAST_PROGRESS=loud", "never"]);
    with_variables(&[("MCAST_LOG", "mcast=loud")], 2, &["MCAST_LOG=mcast=loud"]);
    let near = [("MCAST_INTERFACE", "lo"), ("MCAST_LABELS", "shop"), ("MCAST_KEYFILE", "/etc/key")];
    with_variables(&near, 4, &["MCAST_LABELS=\"shop\"", "MCAST_LABEL?", "MCAST_KEY_FILE?"]);
    fails("mcast-send", &["--require", "a,b c"], 2, &["--require b c"]);
    let mut send = program("mcast-send");
    let output = send.env("MCAST_REQUIRE", "a,b c").write_stdin("").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("MCAST_REQUIRE=a,b c"), "{text}");
}

#[test]
fn variables_decide_nothing_about_mcast_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut prune = program("mcast");
    prune.args(["archive", "prune"]).arg(directory.path()).env("MCAST_KEEP_LAST", "1");
    let output = prune.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("--keep-"), "{text}");
}

/// Seven seconds would be an archive of one entry.
#[test]
fn age_without_a_unit_is_refused_in_the_variable_and_by_prune() {
    let directory = tempfile::tempdir().unwrap();
    let says = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("such as 36h or 7d"), "{text}");
        text
    };
    let mut recv = program("mcast-recv");
    recv.arg("--archive").arg(directory.path()).env("MCAST_KEEP_WITHIN", "7");
    let text = says(&mut recv);
    assert!(text.contains("MCAST_KEEP_WITHIN=7"), "{text}");
    says(program("mcast").args(["archive", "prune", "--keep-within", "0d"]).arg(directory.path()));
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
        let output = blind::command("script")
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
        let output = blind::command("sh")
            .args(["-c", &format!("exec \"$0\" -q --no-key -i lo -p 7813 --start-timeout 1ms {redirection}")])
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
        ("mcast-send", "</dev/null", 4, "no receiver had joined"),
        ("mcast-recv", ">/dev/null", 4, "no sender was heard"),
    ] {
        let (exit, text) = closed(program, redirection);
        assert_eq!(exit, Some(code), "{program} {redirection}: {text}");
        assert!(text.contains(part), "{program} {redirection}: {text}");
    }
}

#[test]
fn command_after_the_dashes_that_is_empty_is_refused_by_all_programs() {
    for program in ["mcast-send", "mcast-recv"] {
        for command in [&["--"][..], &["--", ""], &["--", "", "-d"]] {
            fails(program, command, 2, &["after -- is empty", "unset variable"]);
        }
    }
    for command in [&["--"][..], &["--", ""]] {
        let restore = [&["archive", "restore", "dumps", "latest"], command].concat();
        let output = program("mcast").args(restore).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains("after -- is empty"), "{text}");
    }
}

#[test]
fn lone_hyphen_is_a_standard_stream_or_refused() {
    // The stream is read from standard input, or written to standard output, as far as that goes without a peer.
    fails("mcast-send", &["-i", "lo", "-p", "7811", "-f", "-"], 4, &["no receiver had joined"]);
    fails("mcast-recv", &["-i", "lo", "-p", "7811", "-o", "-"], 4, &["no sender was heard"]);
    for program in ["mcast-send", "mcast-recv"] {
        fails(program, &["--report", "-"], 2, &["--report -", "./-"]);
    }
    fails("mcast-recv", &["--archive", "-"], 2, &["--archive -", "./-"]);
    for line in [
        &["keygen", "-"][..],
        &["archive", "list", "-"],
        &["archive", "restore", "dumps", "latest", "-o", "-"],
    ] {
        let output = program("mcast").args(line).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains("./-"), "{line:?}: {text}");
    }
}

/// The answer of `mcast` to a wrong command line.
fn tool_says(line: &str) -> String {
    let output = program("mcast").args(line.split_whitespace()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{line}: {text}");
    text
}

#[test]
fn usage_error_names_what_is_missing_and_the_help_of_its_task() {
    for (line, parts) in [
        ("", &["a task is missing", "keygen", "archive", "see mcast --help"][..]),
        ("archive", &["a task is missing", "list, verify", "see mcast archive --help"]),
        ("archive list", &["<DIR> is missing", "see mcast archive list --help"]),
        ("archive cat", &["<DIR> and <NAME> are missing", "see mcast archive cat --help"]),
        ("archive rm dumps", &["<NAME> is missing", "see mcast archive rm --help"]),
        ("archive verfy", &["\"verfy\"", "did you mean verify?", "see mcast archive --help"]),
        ("archive ls", &["did you mean list?"]),
        ("archive frob", &["\"frob\"", "prune"]),
        (
            "archive prune dumps --keep-dayly 3",
            &["did you mean --keep-daily?", "see mcast archive prune --help"],
        ),
        ("archive --json list dumps", &["--json belongs after mcast archive list"]),
    ] {
        let text = tool_says(line);
        for part in parts {
            assert!(text.contains(part), "{line}: \"{part}\" is not in: {text}");
        }
    }
}

#[test]
fn suggestion_is_a_flag_for_the_same_purpose_or_none() {
    for (program, flag, meant) in [
        ("mcast-send", "--lable", Some("--label")),
        ("mcast-send", "--receivers", Some("--min-receivers")),
        ("mcast-send", "--silent", Some("--quiet")),
        ("mcast-recv", "--replace", Some("--overwrite")),
        ("mcast-recv", "--label", Some("--expect")),
        ("mcast-send", "--replace", None),
        ("mcast-send", "--compress", None),
    ] {
        let output = self::program(program).args([flag, "x"]).write_stdin("").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains(flag), "{text}");
        match meant {
            Some(meant) => assert!(text.contains(&format!("did you mean {meant}?")), "{text}"),
            None => assert!(!text.contains("did you mean"), "{text}"),
        }
    }
}

#[test]
fn program_that_lacks_its_dashes_is_told_where_they_belong() {
    let dashes = "put -- before the command";
    fails("mcast-send", &["cat", "/dev/null"], 2, &["\"cat\"", dashes, "mcast-send … -- cat …"]);
    fails("mcast-recv", &["-i", "lo", "cat", "-u"], 2, &["\"cat\"", dashes]);
    // No program has such a name, or the word belongs to something else.
    for (program, line, part) in [
        ("mcast-send", &["nightly.dump"][..], "a file with -f"),
        ("mcast-recv", &["nightly.dump"], "a file with -o"),
        ("mcast-send", &["--require", "a", "cat", "--", "cat"], "join lists with commas"),
        ("mcast-recv", &["-o", "a", "--overwrite", "true"], "--overwrite takes no value"),
    ] {
        let output = self::program(program).args(line).write_stdin("").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(part) && !text.contains(dashes), "{line:?}: {text}");
    }
}

#[test]
fn usage_error_is_a_json_line_where_the_log_is_json() {
    let json = |command: &mut Command| {
        let output = command.write_stdin("").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        let line: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((&line["level"], &line["code"]), (&"ERROR".into(), &2.into()), "{text}");
        line["message"].as_str().unwrap().to_owned()
    };
    for name in ["mcast-send", "mcast-recv"] {
        let said = json(program(name).args(["--log-format", "json", "-p", "0"]));
        assert!(said.contains("--port 0"), "{said}");
        assert!(json(program(name).args(["--nonsense", "--log-format=json"])).contains("--nonsense"));
        assert!(json(program(name).arg("--").env("MCAST_LOG_FORMAT", "json")).contains("after -- is empty"));
        let said = json(program(name).args(["--log-format", "json"]).env("MCAST_LOG", "mcast=loud"));
        assert!(said.contains("MCAST_LOG=mcast=loud"), "{said}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_failure_and_a_full_disk_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let run = |line: &[&str], stdout: Stdio| {
        let mut command = blind::command(assert_cmd::cargo::cargo_bin(line[0]));
        let output = command.args(&line[1..]).stdin(Stdio::null()).stdout(stdout).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for line in [
        &["mcast", "archive", "list", place][..],
        &["mcast", "--help"],
        &["mcast-send", "--help"],
        &["mcast-recv", "--version"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(line, writer.into()), (Some(0), String::new()), "{line:?}");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, text) = run(line, full.into());
        assert!(code == Some(9) && text.contains("No space left"), "{line:?}: {code:?} {text}");
    }
}

#[test]
fn mistake_at_launch_is_told_without_a_warning_that_there_is_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing/a");
    let missing = missing.to_str().unwrap();
    for (name, args, code) in [
        ("mcast-send", &["-f", missing][..], 8),
        ("mcast-recv", &["-o", missing], 9),
        ("mcast-send", &["-i", "eth99"], 10),
        ("mcast-recv", &["-i", "eth99"], 10),
    ] {
        let output = program(name).arg("--no-key").args(args).write_stdin("").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{text}");
    }
    let mut plain = program("mcast-recv");
    let output =
        plain.args(["--no-key", "-i", "lo", "-p", "7812", "--start-timeout", "1ms"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(4) && text.contains("no key: anyone"), "{text}");
}

#[test]
fn report_that_would_replace_the_stream_or_the_log_is_refused_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let [dump, log, link] = ["a.dump", "log.jsonl", "link"].map(|name| directory.path().join(name));
    fs::write(&dump, "dump").unwrap();
    fs::write(&log, "log").unwrap();
    std::os::unix::fs::symlink(&log, &link).unwrap();
    let new = directory.path().join("new");
    let spelled = directory.path().join(".").join("new");
    let within = directory.path().join("report.json");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (program, args) in [
        ("mcast-send", ["-f", &text(&dump), "--report", &text(&dump)]),
        ("mcast-send", ["-f", &text(&dump), "--report-log", &text(&dump)]),
        ("mcast-send", ["--report", &text(&link), "--report-log", &text(&log)]),
        ("mcast-send", ["--report", &text(&new), "--report-log", &text(&spelled)]),
        ("mcast-recv", ["-o", &text(&new), "--report", &text(&spelled)]),
        ("mcast-recv", ["--archive", &text(directory.path()), "--report", &text(&within)]),
    ] {
        fails(program, &args, 2, &["--report"]);
    }
    assert_eq!(fs::read(&dump).unwrap(), b"dump");
    assert_eq!(fs::read(&log).unwrap(), b"log");
    for blank in ["", " "] {
        fails("mcast-recv", &["-o", &text(&new), "--then", blank], 2, &["--then is empty"]);
    }
    assert!(!new.exists() && !within.exists());
}
