//! `--then LINE`: a line for the shell that is run once a file is verified and in place.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::SinkError;
use super::command::run;
use crate::command::{CommandLine, Commands};

/// A line for the shell that is run once a file is verified and in place. `{file}` in it stands for the file's path.
#[derive(Debug)]
pub struct Then {
    /// The line.
    pub line: String,
    /// Where it runs.
    pub commands: Commands,
    /// Where it writes.
    pub output: OwnedFd,
}

impl Then {
    pub(super) fn run(self, path: &Path) -> Result<(), SinkError> {
        let line = command(&self.line, path)
            .map_err(|error| SinkError::new("cannot run --then", std::io::Error::other(error)))?;
        run(&line, &self.commands, self.output)
    }
}

/// The command that `line` is for the file at `path`: a shell, which is given the path as its first argument, in whatever
/// bytes. A path of ordinary characters stands in the line itself, since then quotes of any kind around `{file}` do no harm.
/// Any other path never becomes part of the line: `{file}` becomes `"$1"`, so the shell cannot take it for anything but a path.
///
/// # Errors
/// When `{file}` stands between single quotes, where nothing can stand for a path with other characters, or between
/// backquotes, where the shell reads quotes twice; the text names the remedy, and not the line.
pub fn command(line: &str, path: &Path) -> Result<CommandLine, String> {
    // So that no file's name is taken for an option.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let line = match path.to_str().filter(|text| text.bytes().all(is_ordinary)) {
        Some(text) => line.replace(PLACE, text),
        None => with_argument(line).map_err(|(quotes, remedy)| {
            format!(
                "{PLACE} stands between {quotes}, which cannot hold the path \"{}\" safely; {remedy}",
                path.display()
            )
        })?,
    };
    Ok(CommandLine {
        program: "sh".into(),
        arguments: vec!["-c".into(), line.into(), "mcast".into(), PathBuf::into(path)],
    })
}

/// The line with a reference to the first argument in each place, quoted as it must be there.
///
/// # Errors
/// When one stands between quotes that can hold no reference: their name, and the remedy.
fn with_argument(line: &str) -> Result<String, (&'static str, &'static str)> {
    let mut out = String::with_capacity(line.len());
    let mut within = vec![Within::Words];
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let now = within.last().copied().unwrap_or(Within::Words);
        if let Some(after) = rest.strip_prefix(PLACE) {
            out.push_str(match now {
                Within::SingleQuotes => {
                    return Err((
                        "single quotes",
                        "take the quotes away, or write \"$1\" outside them, as in sh -c '… \"$1\"' sh {file}",
                    ));
                }
                Within::Backquotes => return Err(("backquotes", "write $(…) instead of `…`")),
                Within::DoubleQuotes => "${1}",
                Within::Words | Within::Parentheses => "\"$1\"",
            });
            rest = after;
            continue;
        }
        let mut length = c.len_utf8();
        match (now, c) {
            (Within::SingleQuotes, '\'')
            | (Within::DoubleQuotes, '"')
            | (Within::Backquotes, '`')
            | (Within::Parentheses, ')') => {
                within.pop();
            }
            (Within::SingleQuotes, _) => {}
            // The next character stands for itself.
            (_, '\\') => length += rest.chars().nth(1).map_or(0, char::len_utf8),
            (Within::DoubleQuotes, '$') if rest.starts_with("$(") => {
                within.push(Within::Parentheses);
                length += 1;
            }
            // The first backquote after it is the end, whatever quotes stand between.
            (Within::Words | Within::DoubleQuotes | Within::Parentheses, '`') => {
                within.push(Within::Backquotes);
            }
            (Within::DoubleQuotes | Within::Backquotes, _) => {}
            (_, '\'') => within.push(Within::SingleQuotes),
            (_, '"') => within.push(Within::DoubleQuotes),
            (_, '(') => within.push(Within::Parentheses),
            _ => {}
        }
        let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        out.push_str(taken);
        rest = after;
    }
    Ok(out)
}

/// Surroundings of a character in a shell's line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Words,
    SingleQuotes,
    DoubleQuotes,
    Backquotes,
    /// A subshell, or `$(…)`: words again, whatever stands around it.
    Parentheses,
}

/// Characters that no shell takes for anything else, quoted or not.
const fn is_ordinary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'+' | b'=' | b':' | b'@' | b',' | b'%')
}

const PLACE: &str = "{file}";

#[cfg(test)]
mod tests {
    use super::*;

    /// The line that a shell is given for this path.
    fn line_for(line: &str, path: &str) -> String {
        command(line, Path::new(path)).unwrap().arguments[1].to_str().unwrap().to_owned()
    }

    #[test]
    fn path_with_other_characters_never_becomes_part_of_the_line() {
        let hostile = "/srv/$(echo x)/my 'dumps\"";
        for (line, expected) in [
            ("x {file}", "x \"$1\""),
            ("x \"{file}\"", "x \"${1}\""),
            ("x \"a {file} b\" {file}", "x \"a ${1} b\" \"$1\""),
            ("x it\\'s{file}", "x it\\'s\"$1\""),
            ("x \"$(y \"{file}\" {file})\"", "x \"$(y \"${1}\" \"$1\")\""),
            ("x \"\\\"{file}\"", "x \"\\\"${1}\""),
            ("x 'a' {file} 'b'", "x 'a' \"$1\" 'b'"),
            ("x é\\", "x é\\"),
        ] {
            assert_eq!(line_for(line, hostile), expected, "{line}");
        }
        assert_eq!(command("x {file}", Path::new(hostile)).unwrap().arguments[3], hostile);
    }

    #[test]
    fn place_between_single_quotes_takes_ordinary_paths_only() {
        let line = "sh -c 'printf %s {file}'";
        assert_eq!(line_for(line, "/srv/shop-2026.dump"), "sh -c 'printf %s /srv/shop-2026.dump'");
        let error = command(line, Path::new("/srv/my dumps/a")).unwrap_err();
        assert!(error.contains("my dumps") && error.contains("single quotes"), "{error}");
    }

    #[test]
    fn place_between_backquotes_takes_ordinary_paths_only() {
        for line in ["x \"`y {file}`\"", "x `y {file}`", "x \"$(y `z '` {file})\"", "x `y \\`z {file}\\``"] {
            let ordinary = line.replace("{file}", "/srv/a");
            assert_eq!(line_for(line, "/srv/a"), ordinary);
            let answer = command(line, Path::new("/srv/my dumps/a"));
            let is_outside = line.contains("'` {file}");
            assert_eq!(answer.is_ok(), is_outside, "{line}");
            if let Err(error) = answer {
                assert!(error.contains("backquotes") && error.contains("$(…)"), "{error}");
            }
        }
        assert_eq!(line_for("x `y` {file} \\` {file}", "/a b"), "x `y` \"$1\" \\` \"$1\"");
    }

    #[test]
    fn relative_path_is_made_absolute() {
        let line = command("x {file}", Path::new("-rf")).unwrap();
        assert!(Path::new(&line.arguments[3]).is_absolute());
    }
}
