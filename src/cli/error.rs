//! What a program ends with when it fails: a code from the table and one line for people.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use crate::exit::Exit;
use crate::fec::UnsupportedProcessor;
use crate::net;
use crate::sink::SinkError;
use crate::source::SourceError;

/// The end of a program that did not do its job. Everything that can fail is turned into one of these at the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code to exit with.
    pub exit: Exit,
    /// One line that starts lower-case and names value and remedy. Foreign text in it is made visible when it is shown.
    pub message: String,
}

impl Failure {
    /// A failure with this code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Writes `program: message` to stderr.
    pub fn print(&self, program: &str) {
        // Nobody is left to be told where stderr is closed.
        let _ = writeln!(std::io::stderr().lock(), "{program}: {self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible(&self.message))
    }
}

impl std::error::Error for Failure {}

impl From<net::Error> for Failure {
    fn from(error: net::Error) -> Self {
        let exit = match error {
            net::Error::FamilyMismatch { .. } => Exit::Usage,
            _ => Exit::LocalResource,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<net::batch::SendError> for Failure {
    fn from(error: net::batch::SendError) -> Self {
        Self::new(Exit::LocalResource, error.to_string())
    }
}

impl From<UnsupportedProcessor> for Failure {
    fn from(error: UnsupportedProcessor) -> Self {
        Self::new(Exit::LocalResource, error.to_string())
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::new(Exit::SinkFailed, error.to_string())
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::new(Exit::SourceFailed, error.to_string())
    }
}

/// `text` in one line, with control characters and those that reverse the direction of writing escaped, so that a name
/// from the network or from a file system can do nothing to a terminal.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_default());
        }
    }
    out
}

/// Whether a terminal only shows this character: it neither controls anything, nor ends a line, nor reverses the direction
/// of writing.
pub(super) fn is_harmless(c: char) -> bool {
    let reverses =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || reverses || matches!(c, '\u{2028}' | '\u{2029}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_speak_to_the_terminal() {
        let failure = Failure::usage("no file \"\u{1b}[2Ja\nb\u{202e}\u{9b}\u{61c}\"");
        assert_eq!(failure.to_string(), "no file \"\\u{1b}[2Ja\\nb\\u{202e}\\u{9b}\\u{61c}\"");
        assert_eq!(visible("höst ☃"), "höst ☃");
    }
}
