//! Commands that give or take the stream: `pg_dump`, `pg_restore`, or whatever stands behind `--`.
//!
//! Each runs in a session and process group of its own, below a guard: a process of this program that outlives it for
//! as long as it takes to kill the command.
//!
//! ```text
//!   mcast-recv ──────stream──────▶ pipe ──────▶ pg_restore
//!       │                            ▲              │ ▲
//!       │ control                    └── socket ◀───┘ │
//!       └──────────▶ guard ────────────────▲          │
//!                      └──────────────────────────────┘ parent, subreaper, signal at its death
//! ```
//! A command that reads must not see the end of its input unless the stream is complete: `psql -1` would commit what it
//! has. The kernel closes the files of a killed process before it tells anybody of the death, so no signal to the command
//! can be early enough. Therefore a copy of the pipe's writing end lies in a message that waits in a socket, and both the
//! guard and the command itself have that socket. Only the guard reads the message, and only when the stream is complete; so
//! whoever is killed, and in whatever order, the command waits for more input until it is killed too.
//!
//! What remains: a command that closes descriptors it does not know (`sudo` does) relies on the guard, and sees an
//! end of input if guard and program are killed at the same moment; then, too, only the command itself is killed, and what
//! it has started waits for input for ever. A command of another user cannot be killed by this
//! one: its guard keeps its input open until it ends by itself. Whoever leaves the group and is not killed with it (a
//! daemon) stays after a success; after a failure it is killed all the same, as long as /proc shows who it descends from.

pub mod guard;
mod running;
mod wires;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use running::{Commands, Running, Stream};

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Name or path of the program.
    pub program: OsString,
    /// What it is given.
    pub arguments: Vec<OsString>,
}

impl CommandLine {
    /// A line for the shell.
    pub fn shell(line: impl Into<OsString>) -> Self {
        Self { program: "sh".into(), arguments: vec!["-c".into(), line.into()] }
    }

    /// Looks for the program where it would be looked for when it is started, so that a typing error is found before
    /// anybody waits for anything.
    ///
    /// # Errors
    /// When there is no such program, or this user may not run it; the text names the remedy.
    pub fn check(&self, search_path: Option<&OsStr>) -> Result<(), String> {
        let runnable = |path: &Path| {
            path.metadata().is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
        };
        let shown = Path::new(&self.program).display();
        if self.program.as_encoded_bytes().contains(&b'/') {
            return if runnable(Path::new(&self.program)) {
                Ok(())
            } else {
                Err(format!("there is no program \"{shown}\" that can be run; check path and mode"))
            };
        }
        let mut folders = search_path.map(std::env::split_paths).into_iter().flatten();
        if !self.program.is_empty() && folders.any(|folder: PathBuf| runnable(&folder.join(&self.program))) {
            Ok(())
        } else {
            Err(format!("there is no program \"{shown}\" in PATH; install it, or give its path"))
        }
    }
}

impl fmt::Display for CommandLine {
    /// The program without its arguments, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = Path::new(&self.program);
        match (self.program == "sh", self.arguments.get(1)) {
            (true, Some(line)) => write!(f, "command \"{}\"", shortened(&line.to_string_lossy())),
            _ => write!(f, "command \"{}\"", program.file_name().unwrap_or(&self.program).display()),
        }
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// With this status; 0 is success.
    Exited(u8),
    /// By this signal.
    Killed(u8),
    /// Nobody knows: what went wrong, in words.
    Unknown(String),
}

impl Status {
    /// Exited with 0.
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

/// So much of a shell's line that it is recognised.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// A reason on the wire has 200 bytes, and the command's name is not all that it says.
const LONGEST_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(program: &str) -> CommandLine {
        CommandLine { program: program.into(), arguments: vec!["-d".into(), "copy".into()] }
    }

    #[test]
    fn a_typing_error_is_found_before_anything_is_started() {
        let path = Some(OsStr::new("/nowhere:/bin:/usr/bin"));
        assert!(line("sh").check(path).is_ok());
        assert!(line("/bin/sh").check(None).is_ok());
        let error = line("pg_dmp").check(path).unwrap_err();
        assert!(error.contains("pg_dmp") && error.contains("PATH"), "{error}");
        assert!(line("/etc/passwd").check(path).unwrap_err().contains("mode"));
        assert!(line("/bin").check(path).is_err() && line("").check(path).is_err());
    }

    #[test]
    fn a_command_is_named_without_its_arguments() {
        assert_eq!(line("/usr/bin/pg_restore").to_string(), "command \"pg_restore\"");
        assert_eq!(CommandLine::shell("pg_restore -j8 x").to_string(), "command \"pg_restore -j8 x\"");
        assert_eq!(
            CommandLine::shell("é".repeat(100)).to_string().chars().count(),
            40 + "command \"…\"".len() - 2
        );
    }
}
