//! The sender that an entry comes from. Rules and `latest` look at the entries of each label and source by themselves, so that
//! two senders which have chosen one label do not take each other's places.

use std::collections::BTreeMap;

use super::manifest::Manifest;
use super::shelf::Item;

/// Gives each complete item its source: what its sender called itself. Older entries, and those of senders without a
/// name, have only an address; they count as entries of the sender that had this label and address last, if there is
/// one with a name, else the address itself is the source.
pub(super) fn assign(items: &mut [Item]) {
    let mut named = BTreeMap::new();
    for manifest in items.iter().filter_map(Item::manifest) {
        if let Some(source) = &manifest.source {
            let key = (manifest.label.clone(), address(manifest).to_owned());
            let last = named.entry(key).or_insert((manifest.started, source.clone()));
            if last.0 < manifest.started {
                *last = (manifest.started, source.clone());
            }
        }
    }
    for item in items {
        let source = item.manifest().map(|manifest| {
            let key = (manifest.label.clone(), address(manifest).to_owned());
            let name = manifest.source.as_ref().or(named.get(&key).map(|(_, name)| name));
            name.map_or_else(|| address(manifest).to_owned(), String::clone)
        });
        item.source = source;
    }
}

/// How many sources the entries of each label have, where these are several.
pub fn several(items: &[Item]) -> BTreeMap<&str, Vec<&str>> {
    let mut sources: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for item in items {
        if let (Some(manifest), Some(source)) = (item.manifest(), &item.source) {
            sources.entry(&manifest.label).or_default().push(source);
        }
    }
    for of_label in sources.values_mut() {
        of_label.sort_unstable();
        of_label.dedup();
    }
    sources.retain(|_, of_label| of_label.len() > 1);
    sources
}

/// The sender's address without its port.
fn address(manifest: &Manifest) -> &str {
    let sender = &manifest.sender;
    let host = sender.rsplit_once(':').map_or(sender.as_str(), |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Heading;
    use super::super::name::EntryName;
    use super::super::shelf::State;
    use super::*;

    fn item(hour: u8, sender: &str, source: Option<&str>) -> Item {
        let started = format!("2026-03-01T{hour:02}:00:00Z").parse().unwrap();
        let heading = Heading {
            label: "shop".to_owned(),
            session: String::new(),
            sender: sender.to_owned(),
            source: source.map(str::to_owned),
            receiver: String::new(),
            started,
        };
        let manifest = Manifest::new(heading, started, (0, String::new()), None, Vec::new());
        let name = EntryName::candidates("shop", started).unwrap().next().unwrap();
        Item { name, state: State::Complete(Box::new(manifest)), source: None }
    }

    #[test]
    fn entry_without_a_source_belongs_to_the_sender_that_has_its_address() {
        let mut items = [
            item(1, "192.0.2.1:7767", None),
            item(2, "192.0.2.1:40000", Some("old-name")),
            item(3, "192.0.2.1:7767", Some("db1")),
            item(4, "192.0.2.2:7767", None),
            item(5, "[2001:db8::1%2]:7767", None),
        ];
        assign(&mut items);
        let sources: Vec<_> = items.iter().filter_map(|item| item.source.as_deref()).collect();
        assert_eq!(sources, ["db1", "old-name", "db1", "192.0.2.2", "2001:db8::1%2"]);
        let all = several(&items);
        assert_eq!(all["shop"], ["192.0.2.2", "2001:db8::1%2", "db1", "old-name"]);
        assert!(several(&items[..1]).is_empty());
    }
}
