//! How archives are shown: a table for people, documents for programs.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::super::error::{Failure, visible};
use super::super::quantities::{moment, size};
use super::super::tool::Printed;
use super::SCHEMA;
use crate::archive::directory::Directory;
use crate::archive::shelf::{Item, State};
use crate::archive::sources;
use crate::archive::store::{DraftState, Unfinished};
use crate::exit::Exit;

/// What `mcast archive list --json` says.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    schema: u8,
    archive: String,
    entries: Vec<Listed>,
    unfinished: Vec<ListedUnfinished>,
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
    pub(super) fn new(
        archive: &Directory,
        items: &[Item],
        unfinished: &[Unfinished],
        free_bytes: Option<u64>,
        now: Timestamp,
    ) -> Self {
        let unfinished = unfinished.iter().map(|draft| ListedUnfinished {
            name: draft.name.clone(),
            state: draft_state(draft),
            bytes: draft.bytes,
        });
        Self {
            schema: SCHEMA,
            archive: archive.path().display().to_string(),
            entries: items.iter().map(|item| Listed::new(item, now)).collect(),
            unfinished: unfinished.collect(),
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
            bytes: manifest.map(|manifest| manifest.bytes),
            digest: manifest.map(|manifest| manifest.digest.clone()),
            pieces: manifest.map(|manifest| manifest.pieces.len()),
            error: match &item.state {
                State::Damaged(reason) => Some(reason.clone()),
                State::Complete(_) | State::InUse => None,
            },
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

/// Entries, the oldest first, then what is unfinished, then a sum. Their sources, where a label has several.
pub(super) fn table(items: &[Item], unfinished: &[Unfinished], free: Option<u64>, now: Timestamp) -> String {
    let mut rows = vec![["NAME", "SOURCE", "STARTED", "AGE", "SIZE", "STATE"].map(str::to_owned)];
    let dash = || "-".to_owned();
    let mut bytes = 0_u64;
    for item in items {
        let [started, age, size] = match item.manifest() {
            Some(manifest) => {
                bytes = bytes.saturating_add(manifest.bytes);
                let age = now.duration_since(manifest.finished);
                [moment(manifest.started), since(age.try_into().unwrap_or_default()), size(manifest.bytes)]
            }
            None => [dash(), dash(), dash()],
        };
        let state = match &item.state {
            State::Damaged(reason) => format!("damaged: {}", visible(reason)),
            State::Complete(_) if item.is_of_the_future(now) => "complete, dated in the future".to_owned(),
            State::Complete(_) | State::InUse => state(item).to_owned(),
        };
        let source = item.source.clone().unwrap_or_else(dash);
        rows.push([item.name.to_string(), source, started, age, size, state]);
    }
    for draft in unfinished {
        let state = draft_state(draft).to_owned();
        rows.push([draft.name.clone(), dash(), dash(), dash(), size(draft.bytes), state]);
    }
    let widths = [0, 1, 2, 3, 4].map(|column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
    });
    let has_sources = !sources::several(items).is_empty();
    let mut text = String::new();
    for [name, source, started, age, size, state] in rows {
        let [w0, w1, w2, w3, w4] = widths;
        let source = if has_sources { format!("{source:w1$}  ") } else { String::new() };
        text.push_str(&format!("{name:w0$}  {source}{started:w2$}  {age:>w3$}  {size:>w4$}  {state}\n"));
    }
    let complete = items.iter().filter(|item| item.manifest().is_some()).count();
    text.push_str(&format!("{complete} complete, {}", size(bytes)));
    if complete < items.len() {
        text.push_str(&format!("; {} not complete", items.len() - complete));
    }
    if let Some(free) = free {
        text.push_str(&format!("; {} free", size(free)));
    }
    text.push('\n');
    text
}

const fn state(item: &Item) -> &'static str {
    match item.state {
        State::Complete(_) => "complete",
        State::InUse => "being removed",
        State::Damaged(_) => "damaged",
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

/// In the largest unit of which there are two.
fn since(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_units_that_people_count_in() {
        let shown = |seconds| since(Duration::from_secs(seconds));
        assert_eq!(
            [0, 119, 120, 7_199, 7_200, 172_799, 172_800, 40_000_000].map(shown),
            ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "462 d"]
        );
    }
}
