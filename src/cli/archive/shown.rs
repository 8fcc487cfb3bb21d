//! How archives are shown: a table for people, documents for programs.

use jiff::Timestamp;
use serde::Serialize;

use super::super::error::{Failure, visible};
use super::super::quantities::{age, moment, size};
use super::super::tool::Printed;
use super::SCHEMA;
use crate::archive::directory::Directory;
use crate::archive::shelf::{Item, State};
use crate::archive::sources;
use crate::archive::store::{DraftState, Unfinished};
use crate::exit::Exit;

/// The content of an archive.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) items: Vec<Item>,
    pub(super) unfinished: Vec<Unfinished>,
    pub(super) misnamed: Vec<String>,
}

/// What `mcast archive list --json` says.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    schema: u8,
    archive: String,
    entries: Vec<Listed>,
    unfinished: Vec<ListedUnfinished>,
    /// Directories with the objects of an entry under names that no entry may have.
    misnamed: Vec<String>,
    /// Bytes that are free for this user.
    free_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    name: String,
    state: &'static str,
    label: Option<String>,
    session: Option<String>,
    sender: Option<String>,
    /// The sender's name, or its address if it has none.
    source: Option<String>,
    receiver: Option<String>,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    /// Seconds since it was complete, by this host's clock; negative if that is set back.
    age_s: Option<i64>,
    /// It is dated later than this host's clock: that one or another was wrong. Rules and latest leave it out.
    future: bool,
    /// It has another name than mcast gave it. Rules leave it out.
    renamed: bool,
    bytes: Option<u64>,
    digest: Option<String>,
    pieces: Option<usize>,
    /// What is wrong with it.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListedUnfinished {
    name: String,
    state: &'static str,
    bytes: u64,
}

impl Listing {
    pub(super) fn new(archive: &Directory, shelf: &Shelf, free_bytes: Option<u64>, now: Timestamp) -> Self {
        let unfinished = shelf.unfinished.iter().map(|draft| ListedUnfinished {
            name: draft.name.clone(),
            state: draft_state(draft),
            bytes: draft.bytes,
        });
        Self {
            schema: SCHEMA,
            archive: archive.path().display().to_string(),
            entries: shelf.items.iter().map(|item| Listed::new(item, now)).collect(),
            unfinished: unfinished.collect(),
            misnamed: shelf.misnamed.clone(),
            free_bytes,
        }
    }
}

impl Listed {
    fn new(item: &Item, now: Timestamp) -> Self {
        let manifest = item.manifest();
        Self {
            name: item.name.to_string(),
            state: state(item),
            label: manifest.map(|manifest| manifest.label.clone()),
            session: manifest.map(|manifest| manifest.session.clone()),
            sender: manifest.map(|manifest| manifest.sender.clone()),
            source: item.source.clone(),
            receiver: manifest.map(|manifest| manifest.receiver.clone()),
            started: manifest.map(|manifest| manifest.started),
            finished: manifest.map(|manifest| manifest.finished),
            age_s: manifest.map(|manifest| now.duration_since(manifest.finished).as_secs()),
            future: item.is_of_the_future(now),
            renamed: is_renamed(item),
            bytes: manifest.map(|manifest| manifest.bytes),
            digest: manifest.map(|manifest| manifest.digest.clone()),
            pieces: manifest.map(|manifest| manifest.pieces.len()),
            error: reason(item).map(str::to_owned),
        }
    }
}

/// A document of one line.
pub(super) fn document(content: &impl Serialize) -> Result<Printed, Failure> {
    let mut text = serde_json::to_string(content)
        .map_err(|error| Failure::new(Exit::Internal, format!("cannot write JSON: {error}")))?;
    text.push('\n');
    Ok(Printed::text(text))
}

/// Entries, the oldest first, then what is unfinished, then a sum, on a terminal of this width. Their sources, where a
/// label has several.
pub(super) fn table(shelf: &Shelf, free: Option<u64>, now: Timestamp, width: Option<usize>) -> String {
    let mut rows: Vec<Row> = shelf.items.iter().map(|item| Row::of(item, now)).collect();
    rows.extend(shelf.unfinished.iter().map(|draft| Row {
        size: size(draft.bytes),
        reason: Some(draft_state(draft).to_owned()),
        ..Row::new(draft.name.clone(), "unfinished")
    }));
    rows.extend(shelf.misnamed.iter().map(|name| Row {
        reason: Some("not an entry name, so rename it".to_owned()),
        ..Row::new(visible(name), "misnamed")
    }));
    let has_sources = !sources::several(&shelf.items).is_empty();
    let layouts = [Layout::Wide, Layout::Reasons, Layout::Records];
    let mut texts = layouts.map(|layout| layout.lay_out(&rows, has_sources)).into_iter();
    let fits =
        |text: &String| width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width));
    // The last one is read well also where its lines are wrapped.
    let last = texts.next_back().unwrap_or_default();
    let mut text = texts.find(fits).unwrap_or(last);
    text.push_str(&sum(shelf, free));
    text.push('\n');
    text
}

/// `3 complete, 12 GiB; 1 damaged; 200 GiB free`.
fn sum(shelf: &Shelf, free: Option<u64>) -> String {
    let complete: Vec<u64> =
        shelf.items.iter().filter_map(Item::manifest).map(|manifest| manifest.bytes).collect();
    let bytes = complete.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    let mut parts = vec![format!("{} complete, {}", complete.len(), size(bytes))];
    let is = |word: &'static str| move |item: &&Item| state(item) == word;
    for word in ["damaged", "unreadable", "being removed"] {
        let count = shelf.items.iter().filter(is(word)).count();
        parts.extend((count > 0).then(|| format!("{count} {word}")));
    }
    for (count, word) in [(shelf.misnamed.len(), "misnamed"), (shelf.unfinished.len(), "unfinished")] {
        parts.extend((count > 0).then(|| format!("{count} {word}")));
    }
    parts.extend(free.map(|free| format!("{} free", size(free))));
    parts.join("; ")
}

/// One thing in the archive, as people see it.
struct Row {
    name: String,
    source: String,
    started: String,
    age: String,
    size: String,
    state: &'static str,
    /// The reason of the state, or what people should know of a complete entry.
    reason: Option<String>,
}

impl Row {
    fn new(name: String, state: &'static str) -> Self {
        let dash = || "-".to_owned();
        Self { name, source: dash(), started: dash(), age: dash(), size: dash(), state, reason: None }
    }

    fn of(item: &Item, now: Timestamp) -> Self {
        let mut row = Self::new(item.name.to_string(), state(item));
        row.reason = match reason(item) {
            Some(reason) => Some(visible(reason)),
            None if item.is_of_the_future(now) => Some("dated in the future".to_owned()),
            None if is_renamed(item) => Some("renamed, so no rule removes it".to_owned()),
            None => None,
        };
        if let Some(started) = item.started() {
            row.started = moment(started);
        }
        if let Some(manifest) = item.manifest() {
            row.age = age(now.duration_since(manifest.finished).try_into().unwrap_or_default());
            row.size = size(manifest.bytes);
        }
        if let Some(source) = &item.source {
            row.source.clone_from(source);
        }
        row
    }

    fn state_and_reason(&self) -> String {
        let separator = if self.state == "complete" { ", " } else { ": " };
        let reason = self.reason.as_ref().map_or(String::new(), |reason| format!("{separator}{reason}"));
        format!("{}{reason}", self.state)
    }
}

/// How rows are put on lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A line each.
    Wide,
    /// A line each, and another one for a reason.
    Reasons,
    /// A line for the name, others for the rest.
    Records,
}

impl Layout {
    fn lay_out(self, rows: &[Row], has_sources: bool) -> String {
        if self == Self::Records {
            return rows.iter().map(|row| Self::record(row, has_sources)).collect();
        }
        let header = ["NAME", "SOURCE", "STARTED", "AGE", "SIZE"];
        let cells =
            |row: &Row| [&row.name, &row.source, &row.started, &row.age, &row.size].map(String::clone);
        let widths = [0, 1, 2, 3, 4].map(|column: usize| {
            let all = rows.iter().map(cells).chain([header.map(str::to_owned)]);
            all.filter_map(|row| row.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
        });
        let line = |[name, source, started, age, size]: [String; 5], state: &str| {
            let [w0, w1, w2, w3, w4] = widths;
            let source = if has_sources { format!("{source:w1$}  ") } else { String::new() };
            format!("{name:w0$}  {source}{started:w2$}  {age:>w3$}  {size:>w4$}  {state}\n")
        };
        let mut text = line(header.map(str::to_owned), "STATE");
        for row in rows {
            match &row.reason {
                Some(reason) if self == Self::Reasons => {
                    text.push_str(&line(cells(row), row.state));
                    text.push_str(&format!("    {reason}\n"));
                }
                _ => text.push_str(&line(cells(row), &row.state_and_reason())),
            }
        }
        text
    }

    fn record(row: &Row, has_sources: bool) -> String {
        let source = if has_sources { row.source.as_str() } else { "-" };
        let age = if row.age == "-" { "-".to_owned() } else { format!("{} old", row.age) };
        let facts = [source, &row.started, &age, &row.size].into_iter().filter(|fact| *fact != "-");
        let facts: Vec<_> = facts.chain([row.state]).collect();
        let reason = row.reason.as_ref().map_or(String::new(), |reason| format!("    {reason}\n"));
        format!("{}\n  {}\n{reason}", row.name, facts.join(", "))
    }
}

/// Whether an entry has another name than mcast gave it.
fn is_renamed(item: &Item) -> bool {
    item.manifest().is_some() && !item.has_own_name()
}

/// The damage of an entry.
const fn reason(item: &Item) -> Option<&str> {
    match &item.state {
        State::Damaged(reason) | State::Unreadable(reason) => Some(reason.as_str()),
        State::Complete(_) | State::InUse => None,
    }
}

const fn state(item: &Item) -> &'static str {
    match item.state {
        State::Complete(_) => "complete",
        State::InUse => "being removed",
        State::Damaged(_) => "damaged",
        State::Unreadable(_) => "unreadable",
    }
}

const fn draft_state(draft: &Unfinished) -> &'static str {
    match draft.state {
        DraftState::Running => "in the making",
        DraftState::LeftOver => "left over",
        DraftState::Elsewhere => "of another host, or left over before a restart",
        DraftState::Kept => "kept: whole but without its name",
        DraftState::Unknown => "not known: locks or rights are missing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::name::EntryName;
    use crate::archive::sharing::add;
    use crate::archive::store::Store;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let directory = tempfile::tempdir().unwrap();
        let archive = Directory::open(directory.path()).unwrap();
        add(&archive, "shop", 0, &[0; 3 << 10]);
        add(&archive, "shop", 86_400, &[0; 5 << 10]);
        std::fs::create_dir(directory.path().join("shop-20260301T010304Z")).unwrap();
        let unfinished =
            vec![Unfinished { name: ".mcast-1-0.part".to_owned(), bytes: 7, state: DraftState::LeftOver }];
        let items = Item::all(&archive).unwrap();
        assert_eq!(archive.misnamed().unwrap(), [""; 0]);
        (directory, Shelf { items, unfinished, misnamed: vec!["a b\u{1b}".to_owned()] })
    }

    fn shown(width: Option<usize>) -> String {
        let now = Timestamp::from_second(1_772_000_060 + 86_400 + 5 * 3_600).unwrap();
        table(&shelf().1, Some(200 << 30), now, width)
    }

    #[test]
    fn columns_of_the_list_are_aligned_and_the_sum_tells_what_is_damaged() {
        let text = shown(None);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("NAME  ") && lines[0].ends_with("  STATE"), "{text}");
        let column = lines[0].find("STATE").unwrap();
        for line in &lines[1..6] {
            assert!(line.is_char_boundary(column) && line[..column].ends_with("  "), "{text}");
        }
        assert!(lines[2].contains("   5 h  ") && lines[1].contains("  29 h  "), "{text}");
        assert!(lines[3].contains("damaged: manifest.json is missing"), "{text}");
        assert!(lines[4].ends_with("  unfinished: left over"), "{text}");
        assert!(lines[5].contains("misnamed") && !text.contains('\u{1b}'), "{text}");
        let sum = "2 complete, 8 KiB; 1 damaged; 1 misnamed; 1 unfinished; 200 GiB free";
        assert_eq!(lines[6], sum);
    }

    #[test]
    fn list_on_a_narrow_terminal_has_no_line_that_is_too_long() {
        assert_eq!(shown(Some(200)), shown(None));
        let width = |text: &str| text.lines().rev().skip(1).map(|line| line.chars().count()).max().unwrap();
        let (full, reasons, records) = (width(&shown(None)), shown(Some(80)), shown(Some(50)));
        assert!(full > 80 && width(&reasons) <= 80 && width(&records) <= 50, "{reasons}{records}");
        assert!(reasons.contains("\n    manifest.json is missing\n"), "{reasons}");
        let name = EntryName::new("shop-20260301T010304Z").unwrap();
        assert!(records.contains(&format!("\n{name}\n  2026-03-01 ")), "{records}");
    }
}
