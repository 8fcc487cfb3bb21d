//! The page's constants against the sources.

use std::fs;
use std::path::Path;

use super::page;

#[test]
fn the_constants_of_the_page_have_these_values_in_the_code() {
    let page = page::text();
    let tables = page::tables(page::section(&page, "## Constants"));
    let [rows] = tables.as_slice() else { panic!("one table of constants") };
    assert_eq!(rows[0], ["constant", "value", "in", "why"]);
    assert!(rows.len() > 20);
    for row in &rows[1..] {
        let [name, value, file, why] = row.as_slice() else { panic!("{row:?} has four cells") };
        let name = name.trim_matches('`');
        assert_eq!(*value, in_source(name, file.trim_matches('`')), "{name} in {file}");
        assert!(!why.is_empty(), "{name} has no reason");
    }
}

/// The value of a constant as the page writes it.
fn in_source(name: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (_, rest) =
        source.split_once(&format!("const {name}: ")).unwrap_or_else(|| panic!("no {name} in {file}"));
    let (declaration, _) = rest.split_once(';').expect("a constant ends");
    let (_, value) = declaration.split_once(" = ").expect("a constant has a value");
    let units = [("from_micros(", "µs"), ("from_millis(", "ms"), ("from_secs(", "s")];
    for (function, unit) in units {
        if let Some((_, argument)) = value.split_once(function) {
            return format!("{} {unit}", grouped(argument.trim_end_matches(')')));
        }
    }
    grouped(value)
}

/// A number with the page's separators.
fn grouped(value: &str) -> String {
    if value.starts_with(|first: char| first.is_ascii_digit()) && !value.contains(' ') {
        value.replace('_', ",")
    } else {
        format!("`{value}`")
    }
}
