//! docs/protocol.md as data: its tables and its hexadecimal examples.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The page's text.
pub(super) fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    fs::read_to_string(path).expect("docs/protocol.md can be read")
}

/// The text from the heading with this line to the next heading.
pub(super) fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?} in the page"));
    let body = &page[start + heading.len() + 2..];
    body.find("\n#").map_or(body, |end| &body[..end])
}

/// The tables of a section, each as its rows of trimmed cells, head included.
pub(super) fn tables(section: &str) -> Vec<Vec<Vec<&str>>> {
    let mut tables = Vec::new();
    let mut rows = Vec::new();
    for line in section.lines().chain([""]) {
        if line.starts_with('|') {
            if !line.starts_with("|---") {
                rows.push(line.trim_matches('|').split('|').map(str::trim).collect());
            }
        } else if !rows.is_empty() {
            tables.push(std::mem::take(&mut rows));
        }
    }
    tables
}

/// A row of a layout: its offset where that is fixed, its size, its name.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) offset: Option<usize>,
    pub(super) size: Size,
    pub(super) name: &'a str,
}

/// Bytes of a field.
#[derive(Debug)]
pub(super) enum Size {
    Fixed(usize),
    /// From, to.
    Range(usize, usize),
}

impl Size {
    fn read(cell: &str) -> Self {
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{cell:?} is no size"));
        match (cell.split_once(" to "), cell.strip_suffix(" or more")) {
            (Some((from, to)), _) => Self::Range(number(from), number(to)),
            (_, Some(from)) => Self::Range(number(from), usize::MAX),
            _ => Self::Fixed(number(cell)),
        }
    }

    pub(super) fn fits(&self, length: usize) -> bool {
        match self {
            Self::Fixed(size) => length == *size,
            Self::Range(from, to) => (*from..=*to).contains(&length),
        }
    }
}

/// The layouts in a section: tables whose head begins with `offset`.
pub(super) fn layouts(section: &str) -> Vec<Vec<Field<'_>>> {
    tables(section)
        .into_iter()
        .filter(|rows| rows[0][0] == "offset")
        .map(|rows| rows[1..].iter().map(|row| field(row)).collect())
        .collect()
}

fn field<'a>(row: &[&'a str]) -> Field<'a> {
    Field { offset: row[0].parse().ok(), size: Size::read(row[1]), name: row[2] }
}

/// An example: a whole datagram, field by field.
#[derive(Debug, Default)]
pub(super) struct Example<'a> {
    /// Field's name, its bytes, and what the page says of it.
    pub(super) fields: Vec<(&'a str, Vec<u8>, &'a str)>,
}

impl Example<'_> {
    pub(super) fn datagram(&self) -> Vec<u8> {
        self.fields.iter().flat_map(|(_, bytes, _)| bytes.iter().copied()).collect()
    }
}

/// The page's examples, by name.
pub(super) fn examples(page: &str) -> BTreeMap<&str, Example<'_>> {
    let mut examples = BTreeMap::new();
    for fenced in page.split("\n```hex ").skip(1) {
        let (name, rest) = fenced.split_once('\n').expect("an example has lines");
        let (lines, _) = rest.split_once("\n```").expect("an example ends");
        let mut example = Example::default();
        for line in lines.lines() {
            let (hex, said) = line.split_once("  ").unwrap_or_else(|| panic!("{line:?} explains nothing"));
            let (field, said) =
                said.trim().split_once(':').unwrap_or_else(|| panic!("{line:?} names no field"));
            example.fields.push((field, unhex(hex), said.trim()));
        }
        assert!(examples.insert(name, example).is_none(), "two examples of {name}");
    }
    examples
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text:?} has half a byte");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap_or_else(|_| panic!("{text:?} is not hex")))
        .collect()
}
