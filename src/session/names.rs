//! Names in a message for people: sorted, and eight at most.

use std::collections::BTreeMap;

/// Names in one message, at most: a session may have thousands.
const MOST_NAMES: usize = 8;

/// A list such as `db1, db2`; the rest of a long one is only counted. Two receivers may have the same name: it is then shown
/// as `db2 ×2`.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let mut shown = Vec::new();
    let mut listed = 0;
    for (name, count) in counts.into_iter().take(MOST_NAMES) {
        listed += count;
        shown.push(if count == 1 { name.to_owned() } else { format!("{name} ×{count}") });
    }
    with_rest(&shown, ", ", total - listed)
}

/// Joins what is shown, and says how many more there are.
pub(super) fn with_rest(shown: &[String], separator: &str, rest: usize) -> String {
    let text = shown.join(separator);
    if rest == 0 { text } else { format!("{text} and {rest} more") }
}

/// `1 receiver`, `2 receivers`.
pub fn receivers(count: usize) -> String {
    if count == 1 { "1 receiver".to_owned() } else { format!("{count} receivers") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_names_is_sorted_and_bounded() {
        assert_eq!(listed([]), "");
        assert_eq!(listed(["db3", "db2", "db3"]), "db2, db3 ×2");
        let many: Vec<_> = (10..30).map(|n| format!("db{n}")).collect();
        let shown = listed(many.iter().map(String::as_str));
        assert_eq!(shown, "db10, db11, db12, db13, db14, db15, db16, db17 and 12 more");
    }
}
