//! What the documents say is what the programs do.

#![expect(clippy::panic, reason = "a helper of tests fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use mcast::exit::Exit;

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
fn readme_lists_exactly_the_exit_codes_of_the_table() {
    let mut expected: Vec<_> =
        Exit::TABLE.iter().map(|exit| vec![exit.code().to_string(), exit.meaning().to_owned()]).collect();
    expected.push(vec!["128 + n".to_owned(), "ended by signal n".to_owned()]);
    assert_eq!(table_under("## Exit codes", &read("README.md")), expected);
}

#[test]
fn documents_link_only_to_files_that_exist() {
    for document in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = read(document);
        let targets =
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            assert!(root().join(target).exists(), "{document} links to {target}, which does not exist");
        }
    }
}

#[test]
fn commands_that_documents_name_exist_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    for document in ["README.md", "CONTRIBUTING.md"] {
        let text = read(document);
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
