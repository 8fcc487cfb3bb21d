//! Commands whose work is done where this host cannot kill it: behind `ssh`, in a container, as another user.
//!
//! A guard kills a command before its input ends. Behind a client that passes its input on, the program that matters
//! sees an end of input as soon as the client dies, and `psql -1` commits. The programs cannot prevent that, so they warn of it
//! at launch. The words of a line are looked at as they stand; this is no parser of a shell's language.

use std::ffi::OsStr;
use std::path::Path;

use rustix::process::geteuid;

use super::CommandLine;

/// Why a command cannot be killed together with what it has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// It passes the stream on to a program elsewhere.
    Elsewhere,
    /// It runs a program as another user.
    OtherUser,
}

impl CommandLine {
    /// One line of warning, if the program that reads the stream cannot be killed from here. `file_first` says how to put
    /// a file between.
    pub fn warning(&self, file_first: &str) -> Option<String> {
        let (word, reach) = self.out_of_reach()?;
        Some(match reach {
            Reach::Elsewhere => format!(
                "\"{word}\" passes the stream on to a program that cannot be killed from here: if the session fails, that \
                 program sees an end of input and may commit what it has; {file_first}"
            ),
            Reach::OtherUser if geteuid().is_root() => return None,
            Reach::OtherUser => format!(
                "\"{word}\" runs a program as another user, which cannot be killed from here: if the session fails, it \
                 waits for its input until somebody ends it; start this program as that user instead"
            ),
        })
    }

    fn out_of_reach(&self) -> Option<(String, Reach)> {
        let words = std::iter::once(&self.program).chain(&self.arguments).map(|word| word.to_string_lossy());
        let words: Vec<_> = words.collect();
        let direct = judge(words.iter().map(AsRef::as_ref));
        direct.or_else(|| {
            let line = self.shell_line()?.to_string_lossy();
            let breaks = |c: char| "|;&\n(){}`".contains(c);
            line.split(breaks).find_map(|part| judge(part.split_whitespace()))
        })
    }

    /// The line that is given to a shell, as in `sh -c LINE`.
    pub(super) fn shell_line(&self) -> Option<&OsStr> {
        let shell = name_of(Path::new(&self.program).to_str()?);
        let mut arguments = self.arguments.iter();
        let is_command = |option: &&std::ffi::OsString| {
            let option = option.as_encoded_bytes();
            option.starts_with(b"-") && !option.starts_with(b"--") && option.contains(&b'c')
        };
        SHELLS.contains(&shell).then(|| arguments.find(is_command).and(arguments.next()))?.map(AsRef::as_ref)
    }
}

/// The word of a simple command that says who gets the input, if that is out of reach.
fn judge<'a>(words: impl Iterator<Item = &'a str>) -> Option<(String, Reach)> {
    let mut words = words.peekable();
    let mut other_user = None;
    while let Some(word) = words.next() {
        let name = name_of(word);
        let found = |reach| Some((name.to_owned(), reach));
        if RELAYS.contains(&name) {
            return found(Reach::Elsewhere);
        }
        if CONTAINERS.contains(&name) {
            // Others of their commands take no stream, or notice that it was cut off.
            return words.any(|word| TAKE_INPUT.contains(&word)).then(|| found(Reach::Elsewhere)).flatten();
        }
        if USERS.contains(&name) {
            other_user = other_user.or_else(|| found(Reach::OtherUser));
        } else if word.len() == 2 && word.starts_with('-') {
            // An option that may have a value; `-i` before `ssh` has none.
            words.next_if(|word| !is_known(name_of(word)));
        } else if !WRAPPERS.contains(&name) && !word.starts_with('-') && !is_value(word) {
            return other_user;
        }
    }
    other_user
}

fn is_known(name: &str) -> bool {
    [RELAYS, CONTAINERS, USERS, WRAPPERS].iter().any(|names| names.contains(&name))
}

/// An assignment, a number, or a length of time.
fn is_value(word: &str) -> bool {
    word.contains('=') || word.starts_with(|c: char| c.is_ascii_digit())
}

fn name_of(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"];
/// Programs that pass their input on to another host, or to a service on this one.
const RELAYS: &[&str] = &[
    "ssh",
    "slogin",
    "rsh",
    "remsh",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "systemd-run",
    "machinectl",
    "flatpak-spawn",
    "distrobox",
    "distrobox-enter",
    "toolbox",
];
/// Programs that do so with some of their commands.
const CONTAINERS: &[&str] =
    &["docker", "docker-compose", "podman", "nerdctl", "crictl", "kubectl", "oc", "lxc", "incus"];
const TAKE_INPUT: &[&str] = &["exec", "run", "attach", "start"];
/// Programs that become another user.
const USERS: &[&str] = &["sudo", "su", "doas", "runuser", "pkexec"];
/// Programs, and words of a shell, that run what follows.
const WRAPPERS: &[&str] = &[
    "env", "nice", "ionice", "chrt", "taskset", "nohup", "setsid", "stdbuf", "timeout", "time", "sshpass",
    "exec", "command", "if", "then", "else", "while", "until", "do", "!",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> CommandLine {
        let mut words = text.split(' ').map(Into::into);
        CommandLine { program: words.next().unwrap(), arguments: words.collect() }
    }

    #[test]
    fn command_that_passes_the_stream_on_is_named() {
        for (text, word) in [
            ("docker exec -i db psql -1", "docker"),
            ("docker compose -f a.yml exec -T db psql -1", "docker"),
            ("/usr/bin/ssh db psql -1", "ssh"),
            ("kubectl -n prod exec -i db -- psql -1", "kubectl"),
            ("podman run -i img psql", "podman"),
            ("env PGUSER=x nice -n 10 ssh -C db psql", "ssh"),
            ("sshpass -p secret ssh db psql", "ssh"),
            ("sudo -u root docker exec db psql", "docker"),
            ("timeout 5m nc db 5433", "nc"),
            ("systemd-run --pipe psql -1", "systemd-run"),
        ] {
            assert_eq!(line(text).out_of_reach(), Some((word.to_owned(), Reach::Elsewhere)), "{text}");
        }
        for text in ["zstd -d | ssh db psql -1", "set -e; A=b exec docker exec -i db psql", "(ssh db cat)"] {
            assert!(CommandLine::shell(text).out_of_reach().is_some(), "{text}");
        }
        let bash =
            CommandLine { program: "/bin/bash".into(), arguments: vec!["-ec".into(), "ssh a b".into()] };
        let warning = bash.warning("use a file").unwrap();
        assert!(warning.contains("\"ssh\"") && warning.ends_with("use a file"), "{warning}");
    }

    #[test]
    fn command_of_another_user_is_named() {
        for text in ["sudo -u postgres psql -1", "su postgres -c psql", "env A=b doas psql"] {
            assert_eq!(line(text).out_of_reach().map(|(_, reach)| reach), Some(Reach::OtherUser), "{text}");
        }
    }

    #[test]
    fn command_that_runs_here_is_not_warned_of() {
        for text in [
            "pg_restore -1 -d ssh",
            "psql -h db -1",
            "grep ssh",
            "docker load",
            "timeout 5 grep docker exec",
            "tee /srv/ssh",
            "nsenter -t 1 -n psql",
        ] {
            assert_eq!(line(text).warning(""), None, "{text}");
        }
        assert_eq!(CommandLine::shell("cat > ssh; grep docker").warning(""), None);
    }
}
