//! What the documents say is what the programs do.

#![expect(clippy::panic, reason = "a helper of tests fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use mcast::exit::Exit;

#[path = "common/blind.rs"]
mod blind;

#[allow(dead_code, reason = "cargo calls its main function")]
#[path = "../build.rs"]
mod build;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the first table after a heading, each as its trimmed cells.
fn table_under(heading: &str, text: &str) -> Vec<Vec<String>> {
    let (_, section) =
        text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn reference_lists_exactly_the_exit_codes_of_the_table() {
    let mut expected: Vec<_> =
        Exit::TABLE.iter().map(|exit| vec![exit.code().to_string(), exit.meaning().to_owned()]).collect();
    expected.push(vec!["128 + n".to_owned(), "ended by signal n".to_owned()]);
    assert_eq!(table_under("## Exit codes", &read("docs/reference.md")), expected);
}

/// All pages for people: those at the top, and those in docs/.
fn documents() -> Vec<String> {
    let mut found: Vec<_> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ARCHITECTURE.md"].map(str::to_owned).into();
    let pages = fs::read_dir(root().join("docs")).unwrap_or_else(|error| panic!("docs: {error}"));
    let names = pages.flatten().map(|page| page.file_name().to_string_lossy().into_owned());
    found.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")));
    found
}

/// The anchor that a heading has on GitHub: small letters, digits and dashes, a dash for each space.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn documents_link_only_to_files_and_headings_that_exist() {
    for document in documents() {
        let text = read(&document);
        let targets =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&document).parent().unwrap_or_else(|| panic!("{document}"));
            let linked = if file.is_empty() { PathBuf::from(&document) } else { folder.join(file) };
            assert!(root().join(&linked).exists(), "{document} links to {target}, which does not exist");
            let known = heading.is_empty()
                || read(&linked.to_string_lossy())
                    .lines()
                    .filter_map(|line| line.strip_prefix('#'))
                    .any(|line| anchor(line.trim_start_matches('#').trim()) == heading);
            assert!(known, "{document} links to {target}, which has no such heading");
        }
    }
}

#[test]
fn commands_that_documents_name_exist_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    for document in documents().into_iter().filter(|document| document != "CHANGELOG.md") {
        let text = read(&document);
        let words = text.split(|c: char| c.is_whitespace() || "`()|:,;".contains(c));
        for command in
            words.map(|word| word.trim_end_matches('.')).filter(|word| word.starts_with("scripts/"))
        {
            let metadata = fs::metadata(root().join(command));
            let mode = metadata
                .unwrap_or_else(|error| panic!("{document}: {command}: {error}"))
                .permissions()
                .mode();
            assert!(mode & 0o111 != 0, "{document}: {command} is not executable");
        }
    }
}

#[test]
fn tasks_and_flags_of_the_archive_that_the_guide_shows_are_those_of_the_program() {
    let help = |program: &str, task: &[&str]| {
        let output = blind::command(assert_cmd::cargo::cargo_bin(program)).args(task).arg("--help").output();
        let output = output.unwrap_or_else(|error| panic!("{program} {task:?}: {error}"));
        assert!(output.status.success(), "{program} {task:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = read("README.md") + &read("docs/guide.md");
    let mut shown = 0;
    for line in text.lines().filter(|line| line.starts_with("    ")) {
        let line = line.split(" # ").next().unwrap_or_default();
        let (known, rest) = if let Some((_, rest)) = line.split_once("mcast archive ") {
            let task = rest.split(' ').next().unwrap_or_default();
            (help("mcast", &["archive", task]), rest)
        } else if let Some((_, rest)) =
            line.split_once("mcast-recv ").filter(|(_, rest)| rest.contains("--archive"))
        {
            (help("mcast-recv", &[]), rest)
        } else {
            continue;
        };
        let own = rest.split(" -- ").next().unwrap_or_default();
        for flag in own.split(' ').filter(|word| word.starts_with('-')) {
            let known = known.split([' ', ',', '\n']).any(|word| word == flag);
            assert!(known, "{line}: {flag} is unknown");
        }
        shown += 1;
    }
    assert!(shown >= 8, "{shown}");
}

/// A cargo that builds nothing, puts empty programs where the environment tells cargo to, and says so as cargo does.
const CARGO: &str = r#"#!/bin/sh
directory=${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release
mkdir -p "$directory"
echo '{"reason":"compiler-artifact","executable":null}'
for program in mcast mcast-send mcast-recv; do
    : >"$directory/$program" && chmod +x "$directory/$program"
    echo "{\"reason\":\"compiler-artifact\",\"executable\":\"$directory/$program\",\"fresh\":true}"
done
echo '{"reason":"build-finished","success":true}'
"#;

/// Fault 56: `scripts/programs`, and the scripts that share its function, ask cargo where the programs are.
#[test]
fn scripts_find_programs_where_cargo_has_put_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let cargo = place.path().join("cargo");
    let made = fs::write(&cargo, CARGO)
        .and_then(|()| fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)));
    made.unwrap_or_else(|error| panic!("{error}"));
    let target = place.path().join("a target");
    for (triple, end) in [("", "release"), ("x86_64-unknown-linux-musl", "x86_64-unknown-linux-musl/release")]
    {
        let mut command = blind::command(root().join("scripts/programs"));
        command.env("PATH", format!("{}:/usr/bin:/bin", place.path().display()));
        command.env("CARGO_TARGET_DIR", &target).env("CARGO_BUILD_TARGET", triple);
        let output = command.output().unwrap_or_else(|error| panic!("{error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(Path::new(said.trim_end()), target.join(end), "{output:?}");
    }
}

/// A service that starts before its network, or falls back to plain mode, or gives up after some tries, is one that
/// misses a night without a word. The guest of `scripts/guest-e2e` boots this unit.
#[test]
fn units_of_the_guide_outlive_a_boot_without_network_and_never_fall_back_to_plain_mode() {
    let guide = read("docs/guide.md");
    let (_, section) = guide.split_once("## As a service").unwrap_or_else(|| panic!("no section"));
    let (section, _) = section.split_once("\n## ").unwrap_or_else(|| panic!("no section"));
    let units: Vec<Vec<_>> = section
        .split("    [Unit]\n")
        .skip(1)
        .map(|rest| {
            let block = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
            block.map(str::trim).collect()
        })
        .collect();
    assert_eq!(units.len(), 2);
    let lines = [
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
        "Type=notify",
        "UMask=0077",
        "Restart=on-failure",
        "RestartSec=10",
        "WantedBy=multi-user.target",
    ];
    for (unit, line) in units.iter().flat_map(|unit| lines.map(|line| (unit, line))) {
        assert!(unit.contains(&line), "{line} is not in {unit:?}");
    }
    let unattended = ["mcast-recv -q", "mcast-send -q"];
    let text = read("README.md") + &guide;
    for line in text.lines().filter(|line| unattended.iter().any(|start| line.contains(start))) {
        assert!(line.contains("--require-key"), "this line may fall back to plain mode: {line}");
        let shared = ["--report /tmp", "--report /var/tmp"].iter().any(|place| line.contains(place));
        assert!(!shared, "others may write where this report goes: {line}");
    }
}

#[test]
fn programs_tell_version_and_protocol() {
    for program in ["mcast", "mcast-send", "mcast-recv"] {
        let output = blind::command(assert_cmd::cargo::cargo_bin(program)).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        let text = String::from_utf8_lossy(&output.stdout);
        let protocol = format!("protocol {})\n", mcast::wire::VERSION);
        let start = format!("{program} {} (", env!("CARGO_PKG_VERSION"));
        assert!(text.starts_with(&start) && text.ends_with(&protocol), "{text}");
    }
}

#[test]
fn commit_of_a_build_is_that_of_its_own_repository_or_none() {
    let place = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let put = |path: &str, text: &str| {
        let path = place.path().join(path);
        let folder = path.parent().unwrap_or(&path);
        let put = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        put.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    let head = |folder: &str| build::Head::of(&place.path().join(folder));
    let [one, two, three] = ["1", "2", "3"].map(|digit| digit.repeat(40));
    put("loose/.git/HEAD", "ref: refs/heads/main\n");
    put("loose/.git/refs/heads/main", &format!("{one}\n"));
    put("loose/.git/worktrees/w/HEAD", "ref: refs/heads/w/a\n");
    put("loose/.git/worktrees/w/commondir", "../..\n");
    put(
        "loose/.git/packed-refs",
        &format!("# pack-refs\n{one} refs/heads/ww/a\n{two} refs/heads/w/a\n^{three}\n"),
    );
    put("worktree/.git", "gitdir: ../loose/.git/worktrees/w\n");
    put("detached/.git/HEAD", &format!("{three}\n"));
    put("empty/.git/HEAD", "ref: refs/heads/main\n");
    put("broken/.git/HEAD", "\u{1b}[2J\n");
    put("loose/tarball/README.md", "");
    for (folder, commit) in [
        ("loose", Some("11111111")),
        ("worktree", Some("22222222")),
        ("detached", Some("33333333")),
        ("empty", None),
        ("broken", None),
        ("loose/tarball", None),
    ] {
        assert_eq!(head(folder).commit.as_deref(), commit, "{folder}");
        // cargo runs a script again and again that waits for a file which is not there.
        assert!(head(folder).read.iter().all(|path| path.exists()), "{folder}");
    }
    assert!(head("loose").read.iter().any(|path| path.ends_with("refs/heads/main")));
    put("loose/.git/refs/heads/w/a", &format!("{three}\n"));
    assert_eq!(head("worktree").commit.as_deref(), Some("33333333"));
    assert_eq!(build::short("1.2-rc1").as_deref(), Some("1.2-rc1"));
    assert_eq!(build::short("a\ncargo::x"), None);
}

/// The tests of a file, by the attribute in front of them.
fn tests_in(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if path.is_dir() {
        for entry in
            fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).flatten()
        {
            found.extend(tests_in(&entry.path()));
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let names =
            text.split("#[test]").skip(1).filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
        found.extend(names.map(|(name, _)| name.to_owned()));
    }
    found
}

/// The checks that `scripts/guest-e2e` runs in its guest: `check NAME`, a line each.
fn checks_in_the_guest() -> Vec<String> {
    let folder = root().join("scripts/lib/guest");
    let parts = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for part in parts.flatten() {
        let text = fs::read_to_string(part.path()).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| Some(line.trim().strip_prefix("check ")?.to_owned())));
    }
    found
}

/// The tests of every place that a page may name.
fn places() -> Vec<(&'static str, Vec<String>)> {
    let files = [
        ("simulator", "tests/simulator"),
        ("hosts", "tests/hosts"),
        ("unit", "src"),
        ("corpus", "tests/corpus.rs"),
        ("protocol", "tests/protocol"),
        ("bad input", "tests/bad_input.rs"),
        ("docs", "tests/docs.rs"),
    ]
    .map(|(place, path)| (place, tests_in(&root().join(path))));
    files.into_iter().chain([("guest", checks_in_the_guest())]).collect()
}

/// Panics unless a cell such as "unit: `one` `two`; hosts: `three`" names tests, and only tests that exist there.
fn must_name_tests(what: &str, cell: &str, places: &[(&str, Vec<String>)]) {
    for group in cell.split(';') {
        let (place, names) = group.split_once(':').unwrap_or_else(|| panic!("{what} names no test"));
        let known = places.iter().find(|(known, _)| *known == place.trim());
        let (_, known) = known.unwrap_or_else(|| panic!("{what}: no place {place:?}"));
        let mut names = names.split_whitespace().map(|name| name.trim_matches('`')).peekable();
        assert!(names.peek().is_some(), "{what} names no test in {place}");
        for name in names {
            assert!(known.iter().any(|test| test == name), "{what}: no test {name} in {place}");
        }
    }
}

#[test]
fn every_claim_on_security_has_a_number_and_a_test() {
    let (page, places) = (read("docs/security.md"), places());
    let rows = table_under("## Claims and their tests", &page);
    for (number, row) in (1..).zip(&rows) {
        assert_eq!(row[0], format!("C{number}"), "claims are numbered without a gap: {row:?}");
        must_name_tests(&row[0], &row[2], &places);
        let mentions =
            [format!("({}", row[0]), format!(", {}", row[0])].map(|text| page.matches(&text).count());
        assert!(mentions.iter().sum::<usize>() > 0, "the page does not speak of {}", row[0]);
    }
    let (text, _) = page.split_once("## Claims and their tests").unwrap_or_default();
    for claim in text.split(['(', ' ']).filter_map(|word| word.strip_prefix('C')) {
        let Ok(number) = claim.trim_end_matches([')', ',', '.', ':', ';']).parse::<usize>() else { continue };
        assert!(number <= rows.len(), "C{number} is not in the table");
    }
}

#[test]
fn every_fault_has_a_test_and_every_test_that_the_page_on_faults_names_exists() {
    let places = places();
    let page = read("docs/faults.md");
    let rows: Vec<_> = ["## Network", "## Processes and hosts", "## Abuse"]
        .iter()
        .flat_map(|part| table_under(part, &page))
        .collect();
    for (number, row) in (1..).zip(&rows) {
        assert_eq!(row[0], number.to_string(), "faults are numbered without a gap: {row:?}");
    }
    assert_eq!(rows.len(), 37);
    let later: Vec<_> = ["## Places, clocks and neighbours", "## Strangers beside a session with a key"]
        .iter()
        .flat_map(|part| table_under(part, &page))
        .collect();
    let number = |row: &Vec<String>| row[0].parse::<u32>().unwrap_or_else(|_| panic!("no number: {row:?}"));
    // Fault 58, a shallow port beside other sessions on a busy host, has no row until it is measured on such a host.
    let expected: Vec<u32> = (38..=68).filter(|number| *number != 58).collect();
    assert_eq!(
        later.iter().map(number).collect::<Vec<_>>(),
        expected,
        "later faults are numbered without a gap"
    );
    for row in rows.iter().chain(&later) {
        let number = number(row);
        must_name_tests(&format!("fault {number}"), &row[3], &places);
    }
    let quoted = page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 2);
    for name in quoted {
        assert!(
            places.iter().any(|(_, known)| known.iter().any(|test| test == name)),
            "there is no test {name}"
        );
    }
}

/// Units of constants, in seconds or bits per second. Any other unit counts as 1.
const UNITS: [(&str, f64); 6] =
    [("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("bit/s", 1.0), ("Mbit/s", 1e6), ("Gbit/s", 1e9)];

/// The numbers among the constants of a source file outside its tests: `Owner::NAME` and value, durations in seconds.
fn constants_in(path: &str) -> Vec<(String, f64)> {
    let text = read(path);
    let (mut owner, mut found) = ("", Vec::new());
    for line in text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines() {
        if let Some(of) = line.strip_prefix("impl ") {
            owner = of.trim_end_matches(" {").rsplit(' ').next().unwrap_or_default();
        }
        let Some((_, declaration)) = line.split_once("const ") else { continue };
        let Some((head, value)) = declaration.split_once(" = ") else { continue };
        let (name, _) = head.split_once(':').unwrap_or_else(|| panic!("{path}: {line}"));
        let functions = [("from_micros(", 1e-6), ("from_millis(", 1e-3), ("from_secs(", 1.0), ("Self(", 1.0)];
        let argument =
            functions.iter().find_map(|(function, one)| Some((value.split_once(function)?.1, *one)));
        let (digits, one) = argument.unwrap_or((value, 1.0));
        let number = digits.trim_end_matches([')', ';']).replace('_', "").parse::<f64>();
        found.extend(number.map(|number| (format!("{owner}::{name}"), number * one)));
    }
    found
}

#[test]
fn page_on_the_rate_has_every_constant_of_its_control_with_its_value() {
    let page = read("docs/rate.md");
    for (title, file) in [
        ("The session", "congestion/mod.rs"),
        ("Open", "congestion/open.rs"),
        ("Limited", "congestion/limited.rs"),
        ("Probe", "congestion/probe.rs"),
        ("A path", "congestion/path.rs"),
        ("Own loss", "congestion/own_loss.rs"),
        ("The pacer", "session/pacer.rs"),
    ] {
        let folder = if file.starts_with("session/") { "src" } else { "src/session/sender" };
        let mut known = constants_in(&format!("{folder}/{file}"));
        for row in table_under(&format!("### {title} (`{file}`)"), &page) {
            let [name, value, unit, why, origin] = row.as_slice() else { panic!("{row:?} has five cells") };
            let name = name.trim_matches('`');
            let place = known.iter().position(|(other, _)| other == name);
            let (_, actual) = known.remove(place.unwrap_or_else(|| panic!("there is no {name} in {file}")));
            let one = UNITS.iter().find(|(known, _)| known == unit).map_or(1.0, |(_, one)| *one);
            let told = value.replace(',', "").parse::<f64>().unwrap_or_else(|_| panic!("{row:?}")) * one;
            assert!((told - actual).abs() <= actual * 1e-9, "{name} is {actual} and not {told}");
            assert!(!why.is_empty() && !origin.is_empty(), "{name} has no reason or no origin");
        }
        assert!(known.is_empty(), "{known:?} of {file} are not on the page");
    }
}
