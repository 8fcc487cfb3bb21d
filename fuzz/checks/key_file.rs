//! What must hold for any bytes in a key file. The fuzz target runs it on what it invents, `tests/corpus.rs` on the corpus.

use mcast::seal::Secret;

/// Panics if `text`, the content of a key file, is handled wrongly.
pub(crate) fn check(text: &[u8]) {
    match Secret::parse(text) {
        Ok(secret) => {
            let written = secret.to_text();
            let line = text.strip_suffix(b"\n").unwrap_or(text);
            assert_eq!(written.trim_end().as_bytes(), line, "a key has two ways to be written");
            assert!(!format!("{secret:?}").contains(&written[12..20]), "shown");
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.is_empty() && !shown.chars().any(char::is_control));
            // Nothing of what might be most of a key.
            let quoted = text.windows(8).filter(|part| part.iter().all(u8::is_ascii_hexdigit));
            for part in quoted {
                assert!(!shown.as_bytes().windows(8).any(|shown| shown == part), "quotes the file: {shown}");
            }
        }
    }
}
