//! The rules of ARCHITECTURE.md that one package gets no help with from the compiler: which room knows which, what only
//! some rooms may touch, how long a file gets. Tests in `#[cfg(test)]` modules may do as they like.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper of tests fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every room, and those that it knows. What stands here is used, and nothing else is: `bin` goes through `cli`.
const KNOWS: &[(&str, &[&str])] = &[
    ("bin", &["cli"]),
    ("archive", &["disk", "session"]),
    (
        "cli",
        &[
            "archive", "command", "disk", "exit", "fec", "net", "seal", "session", "sink", "source", "time",
            "wire",
        ],
    ),
    ("net", &["session", "time"]),
    ("source", &["command", "disk", "fec", "session", "sink"]),
    ("sink", &["archive", "command", "disk", "exit", "fec", "session"]),
    ("command", &[]),
    ("disk", &[]),
    ("sim", &["exit", "fec", "seal", "session", "time", "wire"]),
    ("session", &["exit", "fec", "seal", "time", "wire"]),
    ("wire", &["exit", "fec"]),
    ("fec", &[]),
    ("seal", &["wire"]),
    ("exit", &[]),
    ("time", &[]),
];

/// Names from outside, and the only rooms that may say them.
const ONLY_IN: &[(&str, &[&str])] = &[
    // The clock.
    ("Instant", &["net", "cli"]),
    ("SystemTime", &["net", "cli"]),
    ("thread::sleep", &["net", "cli"]),
    // The network.
    ("UdpSocket", &["net"]),
    ("socket2", &["net"]),
    ("quinn_udp", &["net"]),
    ("signal_hook", &["net"]),
    // Chance: the system's, and generators that seed themselves. What is drawn follows from a seed that is handed in.
    ("getrandom", &["cli"]),
    ("fastrand", &["session", "sim"]),
    ("Rng::new", &[]),
    ("Rng::default", &[]),
    // Cryptography.
    ("ring", &["archive", "seal"]),
    // Order that no seed decides.
    ("HashMap", &[]),
    ("HashSet", &[]),
    // The rest of the world.
    ("std::env", &["cli", "command", "sim"]),
    ("std::fs", &["archive", "cli", "command", "disk", "net", "sink", "source"]),
    ("std::io", &["archive", "cli", "command", "disk", "net", "sink", "source"]),
    ("std::os", &["archive", "cli", "command", "disk", "net", "sink", "source"]),
    ("std::process", &["archive", "bin", "cli", "command", "sink"]),
    ("std::thread", &["cli", "command", "sink", "source"]),
    ("rustix", &["archive", "cli", "command", "disk", "net", "sink", "source"]),
    ("clap", &["cli"]),
    ("tokio", &["command"]),
    ("jiff", &["archive", "cli"]),
];

/// Lines that a file may have before it is asked which two ideas it holds.
const LONGEST_FILE: usize = 600;

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let mut used = BTreeSet::new();
    let mut complaints = Vec::new();
    for (file, text) in sources() {
        let room = room_of(&file);
        for known in rooms_named(&code(&text)) {
            if known != room && !may_know(room, &known) {
                complaints.push(format!("src/{file}: {room} must not know {known}"));
            }
            used.insert((room.to_owned(), known));
        }
        if climbs_out(&file, &code(&text)) {
            complaints.push(format!("src/{file}: write crate:: where a path leaves the room, not super::"));
        }
    }
    for (room, known) in KNOWS.iter().flat_map(|(room, known)| known.iter().map(move |known| (*room, *known)))
    {
        if !used.contains(&(room.to_owned(), known.to_owned())) {
            complaints.push(format!("{room} does not use {known} any more: take it out of KNOWS"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn clock_sockets_chance_and_the_rest_of_the_world_stay_in_their_rooms() {
    let sources = sources();
    let complaints: Vec<_> = sources
        .iter()
        .filter(|(file, _)| !is_for_tests(file, &sources))
        .flat_map(|(file, text)| {
            let code = code(text);
            let strangers = strangers(room_of(file), &code).into_iter();
            strangers.map(move |name| format!("src/{file}: {name} is not for this room")).collect::<Vec<_>>()
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_file_is_short_enough_to_hold_one_idea() {
    let mut complaints = Vec::new();
    for (file, text) in sources() {
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            complaints.push(format!("src/{file} has {lines} lines: which two ideas does it hold?"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_page_on_architecture_names_every_room_and_every_folder() {
    let page = read("ARCHITECTURE.md");
    let rooms: BTreeSet<_> = sources().iter().map(|(file, _)| room_of(file).to_owned()).collect();
    let known: BTreeSet<_> = KNOWS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(&rooms - &BTreeSet::from(["lib".to_owned()]), known, "rooms in src/, rooms in KNOWS");
    for room in rooms {
        let name =
            if root().join("src").join(&room).is_dir() { format!("{room}/") } else { format!("{room}.rs") };
        assert!(page.contains(&name), "ARCHITECTURE.md does not name src/{name}");
    }
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') && name != "target" {
            assert!(page.contains(&format!("{name}/")), "ARCHITECTURE.md does not name the folder {name}/");
        }
    }
}

/// A row of the page's table: what is bounded | by which constant | how much.
#[test]
fn every_bound_on_the_page_is_a_constant_in_the_code() {
    let page = read("ARCHITECTURE.md");
    let (_, table) =
        page.split_once("| bounded | by | at most |").unwrap_or_else(|| panic!("no table of bounds"));
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10, "{rows:?}");
    let code: String = sources().into_iter().map(|(_, text)| text).collect();
    for row in rows {
        let by = row.split('|').nth(2).unwrap_or_default();
        for name in by.split('`').skip(1).step_by(2) {
            let name = name.rsplit("::").next().unwrap_or_default();
            let there = [format!("const {name}:"), format!("{name}: usize,"), format!("{name}: u32,")];
            assert!(there.iter().any(|way| code.contains(way)), "{row}: there is no {name} in src/");
        }
    }
}

#[test]
fn a_broken_rule_is_found() {
    let knows = |text| rooms_named(&code(text)).into_iter().collect::<Vec<_>>();
    assert_eq!(knows("use crate::net;"), ["net"]);
    assert_eq!(
        knows("pub(crate) use crate::{\n    wire::{self, Kind},\n    net::clock::Clock as C,\n};"),
        ["net", "wire"]
    );
    assert_eq!(knows("    let now = crate::net::clock::Clock::start().now(); // crate::cli"), ["net"]);
    assert_eq!(
        knows("//! [`crate::net`]\n/// [`crate::sim`]\n#[cfg(test)]\nmod tests {\n    use crate::sim;\n}\n"),
        [""; 0]
    );
    assert_eq!(knows("#[cfg(test)]\nmod tests {\n    mod inner {\n    }\n}\nuse crate::cli;\n"), ["cli"]);
    assert!(!may_know("session", "net") && !may_know("wire", "session") && may_know("sim", "session"));

    assert!(climbs_out("session/turn.rs", "use super::super::net::clock;"));
    assert!(climbs_out("exit.rs", "super::net::Clock"));
    assert!(!climbs_out("session/turn.rs", "use super::Endpoint;"));
    assert!(!climbs_out("session/sender/mod.rs", "use super::Endpoint;"));

    let found = |room, text| strangers(room, &code(text));
    assert_eq!(found("session", "use std::{collections::HashMap, time::Instant};"), ["Instant", "HashMap"]);
    assert_eq!(found("session", "let at = std::time::Instant::now();"), ["Instant"]);
    assert_eq!(found("wire", "use std::{net, io::{self, Write}};"), ["std::io"]);
    assert_eq!(found("session", "let dice = fastrand::Rng::new();"), ["Rng::new"]);
    assert_eq!(found("net", "use quinn_udp::UdpSocketState; use std::time::Instant;"), [""; 0]);
    assert_eq!(found("net", "use clap::Parser;"), ["clap"]);
}

fn may_know(room: &str, other: &str) -> bool {
    KNOWS.iter().any(|(name, known)| *name == room && known.contains(&other))
}

/// The rooms that code names, as `crate::room` or, from outside the library, as `mcast::room`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let after = |start| words(code, start).map(|(_, rest)| identifier(rest.trim_start_matches("::")));
    let named = after("crate").chain(after("mcast")).map(str::to_owned);
    named.filter(|name| KNOWS.iter().any(|(room, _)| room == name)).collect()
}

/// Whether a chain of `super` leads out of the room, past the rule on `crate`.
fn climbs_out(file: &str, code: &str) -> bool {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = path.split('/').count();
    code.contains(&"super::".repeat(depth))
}

fn strangers(room: &str, code: &str) -> Vec<&'static str> {
    let said = |name: &str| words(code, name).next().is_some();
    ONLY_IN
        .iter()
        .filter(|(name, rooms)| !rooms.contains(&room) && said(name))
        .map(|(name, _)| *name)
        .collect()
}

/// Where `name` stands as a whole word: what comes before it, what comes after it.
fn words<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .map(move |(at, _)| (&code[..at], &code[at + name.len()..]))
        .filter(move |(before, after)| !before.ends_with(part_of_name) && !after.starts_with(part_of_name))
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// A file's text without comments and test modules, with each `use` taken apart into one path a line.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim() == "#[cfg(test)]" {
            // As rustfmt writes it, the module ends with the next brace under its first letter.
            let end = format!("{indent}}}");
            lines.by_ref().find(|line| *line == end);
        } else if !line.trim_start().starts_with("//") {
            code.push_str(line.split(" // ").next().unwrap_or_default());
            code.push('\n');
        }
    }
    let uses: Vec<_> = words(&code, "use")
        .filter_map(|(_, rest)| rest.starts_with(' ').then(|| rest.split_once(';')).flatten())
        .flat_map(|(tree, _)| paths(&tree.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    code + &uses.join("\n")
}

/// The paths in a tree of imports: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(paths).map(|path| format!("{prefix}{path}")).collect()
}

/// The first folder below src/, or the file where there is none.
fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Whether the file is one of those that another declares behind `#[cfg(test)]`.
fn is_for_tests(file: &str, sources: &[(String, String)]) -> bool {
    let Some((folder, name)) = file.trim_end_matches(".rs").rsplit_once('/') else { return false };
    let parent = format!("{folder}/mod.rs");
    sources.iter().filter(|(other, _)| *other == parent).any(|(_, text)| {
        let ways = ["", "pub(crate) "];
        ways.iter().any(|way| text.contains(&format!("#[cfg(test)]\n{way}mod {name};\n")))
    })
}

/// Every file below src/, by its path from there, with its text.
fn sources() -> Vec<(String, String)> {
    let source = root().join("src");
    let (mut folders, mut files) = (vec![source.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}
