//! What must hold for any words on a command line. The fuzz target runs it on what it invents, `tests/corpus.rs` on the
//! corpus.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use jiff::Zoned;
use mcast::cli::template::Template;
use mcast::cli::{recv, send};
use mcast::exit::Exit;
use mcast::wire::{Label, Name};

/// Panics if a command line is handled wrongly: `bytes` are words, each ended by a zero. The first one's first byte says
/// whose they are.
pub(crate) fn check(bytes: &[u8]) {
    let Some((program, words)) = bytes.split_first() else { return };
    let words: Vec<_> = words.split(|byte| *byte == 0).take(MOST).collect();
    let line = |program: &str| {
        std::iter::once(OsString::from(program))
            .chain(words.iter().map(|word| OsStr::from_bytes(word).to_owned()))
            .collect::<Vec<_>>()
    };
    let read =
        if program % 2 == 0 { send::check(line("mcast-send")) } else { recv::check(line("mcast-recv")) };
    if let Err(failure) = read {
        let shown = failure.to_string();
        assert!(matches!(failure.exit, Exit::Usage), "{:?}: {shown}", failure.exit);
        assert!(!shown.is_empty() && !shown.chars().any(char::is_control), "{shown:?}");
    }
    if let [label, name, path, ..] = words.as_slice() {
        check_name_of_a_file(label, name, Path::new(OsStr::from_bytes(path)));
    }
}

/// Whatever the network calls a stream, its file stays where the operator has put it.
fn check_name_of_a_file(label: &[u8], name: &[u8], directory: &Path) {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let Some(label) = text(label).and_then(Label::new) else { return };
    let Some(name) = text(name).and_then(Name::new) else { return };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'/';
    if !directory.as_os_str().as_bytes().iter().all(plain) {
        return;
    }
    let template = Template::parse(&directory.join("{label}-{name}")).expect("a template");
    if let Ok(path) = template.fill(label.as_str(), name.as_str(), &Zoned::default()) {
        assert_eq!(path.parent(), Some(directory), "{}", path.display());
        assert!(path.components().all(|part| part != Component::ParentDir), "{}", path.display());
    }
}

/// Words in one input, at most.
const MOST: usize = 64;
