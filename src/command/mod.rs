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
mod reach;
mod running;
mod wires;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

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
    /// When there is no such program, this user may not run it, or it is a script whose interpreter is not there; the text
    /// names the remedy.
    pub fn check(&self, search_path: Option<&OsStr>) -> Result<(), String> {
        let shown = Path::new(&self.program).display();
        let found = if self.program.as_encoded_bytes().contains(&b'/') {
            Some(PathBuf::from(&self.program)).filter(|path| is_runnable(path)).ok_or_else(|| {
                format!("there is no program \"{shown}\" that this user can run; check path and mode")
            })?
        } else {
            let mut folders = search_path.map(std::env::split_paths).into_iter().flatten();
            let mut find = || {
                folders.find_map(|folder| Some(folder.join(&self.program)).filter(|path| is_runnable(path)))
            };
            let found = if self.program.is_empty() { None } else { find() };
            found.ok_or_else(|| {
                format!("there is no program \"{shown}\" in PATH; install it, or give its path")
            })?
        };
        match interpreter(&found) {
            Some(interpreter) if interpreter.as_os_str().as_encoded_bytes().ends_with(b"\r") => Err(format!(
                "program \"{shown}\" is a script whose first line ends with CR LF, as on Windows, so Linux does not find its interpreter; convert it (dos2unix)"
            )),
            Some(interpreter) if !is_runnable(&interpreter) => Err(format!(
                "program \"{shown}\" is a script for \"{}\", which cannot be run; install that, or mend its first line",
                interpreter.display()
            )),
            _ => Ok(()),
        }
    }
}

/// A file that this user may execute, from a file system that allows it.
fn is_runnable(path: &Path) -> bool {
    path.is_file() && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// The program that a script names in its first line; `None` for what is no script.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(LONGEST_FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // Linux takes a carriage return for a part of the name.
    let name = std::str::from_utf8(line).ok()?.split([' ', '\t']).find(|word| !word.is_empty())?;
    Some(name.into())
}

impl fmt::Display for CommandLine {
    /// The program without its arguments, which may hold secrets: this goes to logs, reports and peers. Of a shell's line,
    /// the first word that is no assignment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = Path::new(&self.program).file_name().unwrap_or(&self.program).display();
        match self.shell_line().and_then(OsStr::to_str).and_then(first_word) {
            Some(word) => write!(f, "command \"{program} -c {word} …\""),
            None => write!(f, "command \"{program}\""),
        }
    }
}

/// The word of a shell's line that names its first program; `None` where quotes or expansions leave a doubt.
fn first_word(line: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/+-".contains(c);
    for word in line.split_whitespace() {
        if let Some((name, value)) = word.split_once('=') {
            let is_name = name.starts_with(|c: char| !c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            // An operator in the value ends the assignment, and the next word may be an argument.
            let is_doubtful = value.contains(['\'', '"', '\\', '$', '`', '(']) || value.contains(OPERATORS);
            if is_name && !is_doubtful {
                continue;
            }
        }
        let end = word.find(OPERATORS).unwrap_or(word.len());
        let is_program =
            |name: &&str| name.len() <= LONGEST_SHOWN && !name.starts_with('-') && name.chars().all(is_plain);
        let name = word.get(..end).filter(is_program)?;
        return name.rsplit('/').next().filter(|name| !name.is_empty());
    }
    None
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// With this status; 0 is success.
    Exited(u8),
    /// By this signal, which did not come from here.
    Killed(u8),
    /// This program has stopped it, because the session was over.
    Stopped,
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
            Self::Stopped => f.write_str("was stopped"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

/// Characters that end a word of a shell's line.
const OPERATORS: [char; 5] = [';', '|', '&', '<', '>'];
/// A reason on the wire has 200 bytes, and the command's name is not all that it says.
const LONGEST_SHOWN: usize = 40;
/// Bytes of a script's first line that Linux reads.
const LONGEST_FIRST_LINE: u64 = 256;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
    fn script_whose_interpreter_is_missing_is_found_before_anything_is_started() {
        let directory = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            line(path.to_str().unwrap()).check(None)
        };
        assert!(script("good", "#!/bin/sh -e\ntrue\n").is_ok() && script("plain", "true\n").is_ok());
        // CR after an argument is the interpreter's business, and a shell gets along with it or says so.
        assert!(script("dos-argument", "#!/bin/sh -\r\ntrue\r\n").is_ok());
        for text in ["#!/bin/sh\r\ntrue\r\n", "#! \t/bin/sh\r\n", "#!/bin/sh\r"] {
            let error = script("dos", text).unwrap_err();
            assert!(error.contains("CR LF") && error.contains("dos2unix"), "{error}");
        }
        let error = script("bad", "#!/no/such/interpreter -x\n").unwrap_err();
        assert!(error.contains("bad") && error.contains("/no/such/interpreter"), "{error}");
    }

    #[test]
    fn a_command_is_named_without_its_arguments() {
        assert_eq!(line("/usr/bin/pg_restore").to_string(), "command \"pg_restore\"");
        let shown = |text: &str| CommandLine::shell(text).to_string();
        assert_eq!(shown("pg_restore -j8 x"), "command \"sh -c pg_restore …\"");
        assert_eq!(shown("PGPASSWORD=hunter2 /usr/bin/pg_dump shop|zstd"), "command \"sh -c pg_dump …\"");
        for doubtful in [
            "PGPASSWORD='hunter 2' pg_dump",
            "PGPASSWORD=$(echo hunter2) pg_dump",
            "A=a\\ hunter2 x",
            "\"$HOME/hunter2\" x",
            "é",
            "",
            "A=hunter2",
            "PGUSER=x;mysql -phunter2 db",
            "A=b|c hunter2",
            "A=b&c hunter2",
            "A=b>c hunter2",
            "A=b<c hunter2",
            "1=b hunter2",
            "=b hunter2",
            "-phunter2 db",
            "A=b -phunter2",
        ] {
            assert_eq!(shown(doubtful), "command \"sh\"", "{doubtful}");
        }
        assert_eq!(shown(&"x".repeat(100)), "command \"sh\"");
        let bash =
            CommandLine { program: "bash".into(), arguments: vec!["-ec".into(), "A=b c hunter2".into()] };
        assert_eq!(bash.to_string(), "command \"bash -c c …\"");
    }
}
