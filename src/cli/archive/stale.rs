//! Entries that are too old: the last backup of a label and sender that has not come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::super::quantities::age;
use super::super::values::shown;
use super::choice::Of;
use crate::archive::name::EntryName;
use crate::archive::shelf::Item;
use crate::session::names::listed;

/// A label, and where no label is asked for a sender, whose newest entry is too old.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stale {
    /// `None` where entries of all labels were looked at as one.
    label: Option<String>,
    source: Option<String>,
    /// Its newest entry that is complete, not found damaged and not dated in the future.
    newest: Option<String>,
    /// Seconds since that was complete.
    age_s: Option<i64>,
}

/// Finds the labels and sources whose newest entry is older than `limit`; entries that are `damaged` do not count. Each label
/// and source is judged by itself. If `of` names a label, all senders that it selects are judged as one, because one host
/// may have taken over from another.
pub(super) fn stale(
    items: &[Item],
    damaged: &BTreeSet<EntryName>,
    of: &Of,
    limit: Duration,
    now: Timestamp,
) -> Vec<Stale> {
    let mut newest: BTreeMap<_, Option<(Timestamp, &Item)>> = BTreeMap::new();
    for item in items {
        let Some(manifest) = item.manifest() else { continue };
        let label = Some(manifest.label.clone());
        let source = if of.is_all() { item.source.clone() } else { of.source.clone() };
        let known = newest.entry((label, source)).or_default();
        let counts = !damaged.contains(&item.name) && !item.is_of_the_future(now);
        if counts && known.is_none_or(|(finished, _)| finished < manifest.finished) {
            *known = Some((manifest.finished, item));
        }
    }
    if newest.is_empty() {
        // Not even a damaged one tells who sent it.
        newest.insert((of.label.clone(), of.source.clone()), None);
    }
    let limit = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
    let all = newest.into_iter().map(|((label, source), newest)| Stale {
        label,
        source,
        newest: newest.map(|(_, item)| item.name.to_string()),
        age_s: newest.map(|(finished, _)| now.duration_since(finished).as_secs()),
    });
    all.filter(|group| group.age_s.is_none_or(|age| age > limit)).collect()
}

/// The failure in words: whose newest entry is how old, and how that ends.
pub(super) fn message(stale: &[Stale], limit: Duration, of: &Of) -> String {
    let groups: Vec<String> = stale.iter().map(Stale::shown).collect();
    let groups = listed(groups.iter().map(String::as_str));
    let remedy = if of.label.is_some() {
        "see why no newer one has come"
    } else {
        "see why no newer one has come; if nothing sends these any more, remove their entries (mcast archive rm), or name the label to look at (--label)"
    };
    format!("no entry is younger than --max-age {} of {groups}; {remedy}", shown(limit))
}

impl Stale {
    /// `shop from db1 (the newest, shop-20260301T010304Z, is 3 d old)`.
    fn shown(&self) -> String {
        let whose = match (&self.label, &self.source) {
            (Some(label), Some(source)) => format!("{label} from {source}"),
            (Some(label), None) => label.clone(),
            (None, Some(source)) => format!("what {source} sent"),
            (None, None) => "any label".to_owned(),
        };
        match (&self.newest, self.age_s) {
            (Some(newest), Some(seconds)) => {
                let seconds = Duration::from_secs(seconds.try_into().unwrap_or_default());
                format!("{whose} (the newest, {newest}, is {} old)", age(seconds))
            }
            _ => format!("{whose} (none is complete and dated in the past)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::{Heading, Manifest};
    use crate::archive::shelf::State;

    const NOW: &str = "2026-03-02T03:00:00Z";

    fn item(label: &str, source: &str, started: &str) -> Item {
        let started = started.parse().unwrap();
        let heading = Heading {
            label: label.to_owned(),
            session: String::new(),
            sender: String::new(),
            source: Some(source.to_owned()),
            receiver: String::new(),
            started,
        };
        let manifest = Manifest::new(heading, started, (0, String::new()), None, Vec::new());
        let name = EntryName::candidates(label, started).unwrap().next().unwrap();
        Item { name, state: State::Complete(Box::new(manifest)), source: Some(source.to_owned()) }
    }

    fn of(label: Option<&str>, source: Option<&str>) -> Of {
        Of { label: label.map(str::to_owned), source: source.map(str::to_owned) }
    }

    fn judged(items: &[Item], of: &Of) -> Vec<String> {
        let damaged = BTreeSet::new();
        let limit = Duration::from_secs(26 * 3600);
        stale(items, &damaged, of, limit, NOW.parse().unwrap()).iter().map(Stale::shown).collect()
    }

    #[test]
    fn newest_entry_of_each_label_and_source_must_be_young_enough() {
        let items = [
            item("crm", "db3", "2026-02-01T01:00:00Z"),
            item("shop", "db1", "2026-02-27T01:00:00Z"),
            item("shop", "db2", "2026-03-02T01:00:00Z"),
        ];
        assert_eq!(
            judged(&items, &of(None, None)),
            [
                "crm from db3 (the newest, crm-20260201T010000Z, is 29 d old)",
                "shop from db1 (the newest, shop-20260227T010000Z, is 3 d old)"
            ]
        );
        // A label that is named is one, whichever host sends it now.
        assert_eq!(judged(&items[1..], &of(Some("shop"), None)), [""; 0]);
        assert_eq!(judged(&items[1..2], &of(Some("shop"), Some("db1"))).len(), 1);
        assert_eq!(judged(&items[..0], &of(Some("shop"), None)).len(), 1);
    }

    #[test]
    fn damaged_entry_and_one_of_the_future_are_not_young() {
        let limit = Duration::from_secs(26 * 3600);
        let young = item("shop", "db1", "2026-03-02T01:00:00Z");
        let future = item("crm", "db1", "2027-03-02T01:00:00Z");
        let damaged = BTreeSet::from([young.name.clone()]);
        let found = stale(&[young, future], &damaged, &of(None, None), limit, NOW.parse().unwrap());
        assert_eq!(found.iter().map(|group| group.newest.as_ref()).collect::<Vec<_>>(), [None, None]);
        let text = message(&found, limit, &of(None, None));
        assert!(text.contains("--max-age 26h") && text.contains("crm from db1 (none is complete"), "{text}");
        assert!(text.contains("mcast archive rm") && text.contains("--label"), "{text}");
    }
}
