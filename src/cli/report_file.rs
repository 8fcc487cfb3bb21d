//! The place that a report goes to. Other users may write to its directory, so nothing that they have put there is
//! followed, or waited for, and nothing of theirs keeps a session from taking place.

use std::fmt::Display;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, OFlags, access, fstat, stat};
use rustix::process::geteuid;

use super::config::OutputConfig;
use super::error::Failure;
use super::report::Report;
use super::report_log;
use crate::disk::special::open_to_write;
use crate::disk::write_all;
use crate::exit::Exit;
use crate::sink::file::{Existing, OutputFile, names_a_descriptor};

/// How a report file treats the reports that it already holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// The report takes the place of the one before.
    Last,
    /// The report is a line behind those of all sessions before.
    All,
}

impl Keeps {
    /// The option that names the place.
    const fn option(self) -> &'static str {
        match self {
            Self::Last => "--report",
            Self::All => "--report-log",
        }
    }

    fn failed(self, path: &Path, error: impl Display) -> Failure {
        Failure::new(Exit::LocalResource, format!("{} {}: {error}", self.option(), path.display()))
    }
}

/// The place that a report is written to.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A file of this name, or none yet. It is no symbolic link.
    File(PathBuf),
    /// A device or pipe, opened with these flags.
    Special(PathBuf, OFlags),
}

/// Refuses a report that would take the place of the stream, be written into its archive, or erase the log of reports.
///
/// # Errors
/// With exit code 2.
pub(super) fn must_be_apart(config: &OutputConfig, stream: &[PathBuf]) -> Result<(), Failure> {
    let report = config.report.as_deref().map(resolved);
    if let (Some(report), Some(log)) = (&report, &config.report_log)
        && is_at(report, &resolved(log))
    {
        return Err(Failure::usage(format!(
            "--report and --report-log both name {}, which would lose the log; name two files",
            log.display()
        )));
    }
    for (keeps, path) in config.reports() {
        if let Some(held) = stream.iter().find(|held| is_at(&resolved(path), &resolved(held))) {
            return Err(Failure::usage(format!(
                "{} {} would be written to \"{}\", which holds the stream; name another file",
                keeps.option(),
                path.display(),
                held.display()
            )));
        }
    }
    Ok(())
}

/// The path without symbolic links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let made = |path: &Path| {
        let directory = parent(path).canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(|| made(path)).unwrap_or_else(|| path.to_owned())
}

/// Whether both are one file, or the first one is within the second. Devices and pipes keep nothing that could be lost.
fn is_at(path: &Path, place: &Path) -> bool {
    let id = |there: Metadata| there.is_file().then(|| (there.dev(), there.ino()));
    match fs::metadata(path) {
        Ok(there) if !there.is_file() => false,
        Ok(there) => path.starts_with(place) || fs::metadata(place).is_ok_and(|other| id(other) == id(there)),
        Err(_) => path.starts_with(place),
    }
}

/// Refuses a path that no report can be written to, before a session depends on it, if the user who starts the program is
/// the one who can mend it. `stream_on_stdout`: standard output carries the stream and must carry nothing else.
///
/// # Errors
/// With exit code 10, or 2 where the path is standard output.
pub(super) fn check(keeps: Keeps, path: &Path, stream_on_stdout: bool) -> Result<(), Failure> {
    let same = stat(path).is_ok_and(|there| {
        fstat(io::stdout()).is_ok_and(|stdout| (stdout.st_dev, stdout.st_ino) == (there.st_dev, there.st_ino))
    });
    if stream_on_stdout && same {
        return Err(Failure::usage(format!(
            "{} {}: standard output carries the stream; name another file",
            keeps.option(),
            path.display()
        )));
    }
    let directory = parent(path);
    match find(path) {
        Ok(Target::File(file)) if keeps == Keeps::All && file.exists() => {
            access(&file, Access::READ_OK | Access::WRITE_OK)
                .map_err(|errno| keeps.failed(path, format!("{}; choose another", io::Error::from(errno))))
        }
        Ok(Target::File(file)) => {
            access(parent(&file), Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| {
                let (directory, error) = (parent(&file).display(), io::Error::from(errno));
                let text = format!("cannot write to directory \"{directory}\": {error}; choose another");
                keeps.failed(path, text)
            })
        }
        Ok(Target::Special(..)) => Ok(()),
        // Another user may have put it there: `clear` says so, and the session takes place.
        Err(_) if !is_private(directory) => Ok(()),
        Err(error) => Err(keeps.failed(path, error)),
    }
}

/// Whether a report can have this name now, as far as [`check`] leaves that open.
///
/// # Errors
/// With exit code 10, when something has its name that is no report of ours.
pub(super) fn look(keeps: Keeps, path: &Path) -> Result<(), Failure> {
    let target = find(path).map_err(|error| keeps.failed(path, error))?;
    match (keeps, target) {
        (Keeps::All, Target::File(file)) => match fs::symlink_metadata(&file) {
            Ok(there) => report_log::check(&file, &there).map_err(|error| keeps.failed(path, error)),
            // It is made once there is a report.
            Err(_) => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Removes the report of an earlier session, so that it cannot be taken for this one's if this one is killed.
///
/// # Errors
/// With exit code 10, when it stays, or something has its name that is no report of ours.
pub(super) fn clear(path: &Path) -> Result<(), Failure> {
    match find(path).map_err(|error| Keeps::Last.failed(path, error))? {
        Target::File(file) => match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Keeps::Last
                .failed(path, format!("cannot remove the old report: {error}; choose another file"))),
            _ => Ok(()),
        },
        Target::Special(..) => Ok(()),
    }
}

/// Writes the report to `path`: a file appears whole or not at all, a log grows by a line; a pipe or device that takes nothing is given up soon,
/// and at once where `in_haste`.
///
/// # Errors
/// With exit code 10.
pub(super) fn write(keeps: Keeps, path: &Path, report: &impl Report, in_haste: bool) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(report).map_err(|error| keeps.failed(path, error))?;
    text.push(b'\n');
    let target = find(path).map_err(|error| keeps.failed(path, error))?;
    match (keeps, target) {
        (Keeps::Last, Target::File(file)) => {
            write_file(file, &text).map_err(|error| keeps.failed(path, error))
        }
        (Keeps::All, Target::File(file)) => {
            report_log::append(&file, &text).map_err(|error| keeps.failed(path, error))
        }
        (_, Target::Special(special, flags)) => {
            let patience = if in_haste { HASTE } else { PATIENCE };
            write_special(special, flags, text, patience).map_err(|error| keeps.failed(path, error))
        }
    }
}

fn write_file(path: PathBuf, text: &[u8]) -> Result<(), crate::sink::SinkError> {
    let shown = path.display().to_string();
    let mut file = OutputFile::create_here(path, Existing::Replace)?;
    // Reports name hosts and labels and hold no secrets; monitoring reads them as another user.
    let readable = file.file().set_permissions(Permissions::from_mode(0o644 & !umask()));
    readable
        .map_err(|error| crate::sink::SinkError::new(format!("cannot make readable \"{shown}\""), error))?;
    file.write_all(&mut [IoSlice::new(text)])?;
    file.commit_or_drop()
}

/// Gives up after `patience`, and leaves the thread that may wait on the other end behind.
fn write_special(path: PathBuf, flags: OFlags, text: Vec<u8>, patience: Duration) -> io::Result<()> {
    let (done, wait) = sync_channel(1);
    let mut looks = patience.as_millis() / LOOK.as_millis();
    let write = move || {
        let give_up = || {
            looks = looks.saturating_sub(1);
            looks == 0
        };
        let written = open_to_write(&path, flags, give_up)
            .and_then(|(file, _)| write_all(file.as_fd(), &mut [IoSlice::new(&text)]));
        let _ = done.send(written);
    };
    thread::Builder::new().name("report".to_owned()).spawn(write)?;
    // A little longer than the thread itself, which knows better what it waits for.
    wait.recv_timeout(patience + 2 * LOOK).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "it takes nothing; see why its reader does not read"))
    })
}

/// The place that the name leads to, behind symbolic links of this user or of root.
fn find(path: &Path) -> Result<Target, String> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if names_a_descriptor(&path) {
            // Behind what others have written to it, if it is a file.
            return Ok(Target::Special(path, OFlags::APPEND));
        }
        if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err("no file name; add one".to_owned());
        }
        let there = match fs::symlink_metadata(&path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target::File(path)),
            Err(error) => return Err(error.to_string()),
        };
        let kind = there.file_type();
        if kind.is_file() {
            return Ok(Target::File(path));
        }
        if kind.is_dir() {
            return Err("it is a directory; add a file name".to_owned());
        }
        if kind.is_socket() {
            return Err("it is a socket; name a file".to_owned());
        }
        if !is_trusted(&there) && !is_private(parent(&path)) {
            let what = if kind.is_symlink() { "symbolic link" } else { "pipe or device" };
            return Err(format!(
                "a {what} of user {} has the name, and is not used; name a file in a directory of your own",
                there.uid()
            ));
        }
        if !kind.is_symlink() {
            return Ok(Target::Special(path, OFlags::NOFOLLOW));
        }
        let to = fs::read_link(&path).map_err(|error| error.to_string())?;
        path = parent(&path).join(to);
    }
    Err("too many symbolic links; name the file itself".to_owned())
}

/// Whether this user or root has made it.
pub(super) fn is_trusted(there: &Metadata) -> bool {
    there.uid() == 0 || there.uid() == geteuid().as_raw()
}

/// Whether only this user and root can put something into the directory, as far as its own mode tells.
pub(super) fn is_private(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|there| is_trusted(&there) && there.mode() & 0o022 == 0)
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The bits that this process takes away from the files that it makes. All for others, where the system does not tell.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o077)
}

/// How long a pipe without a reader, or a terminal that is stopped, may hold up the end of a program.
const PATIENCE: Duration = Duration::from_secs(1);
/// As [`PATIENCE`], after a signal, which must end the program within two seconds.
const HASTE: Duration = Duration::from_millis(100);
/// Pause between two looks for a reader, see [`open_to_write`].
const LOOK: Duration = Duration::from_millis(20);
/// Symbolic links that Linux follows at most.
const MOST_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::super::report::SenderReport;
    use super::*;

    fn read(path: &Path) -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_report_replaces_the_old_one_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        fs::write(&path, "old").unwrap();
        check(Keeps::Last, &path, true).unwrap();
        write(Keeps::Last, &path, &SenderReport::new("prod"), false).unwrap();
        assert_eq!(read(&path)["schema"], 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        clear(&path).unwrap();
        assert!(!path.exists());
        clear(&path).unwrap();
    }

    #[test]
    fn a_path_that_takes_no_report_is_refused_before_the_session() {
        let directory = tempfile::tempdir().unwrap();
        let missing = check(Keeps::Last, &directory.path().join("missing/report.json"), false).unwrap_err();
        assert_eq!(missing.exit, Exit::LocalResource);
        assert!(missing.message.contains("missing"), "{missing}");
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert!(check(Keeps::Last, &inner, false).is_err());
        assert!(check(Keeps::Last, Path::new("/dev/null"), false).is_ok());
    }

    #[test]
    fn link_of_ones_own_stays_and_what_it_points_to_is_the_report() {
        let directory = tempfile::tempdir().unwrap();
        let (link, path) = (directory.path().join("link"), directory.path().join("report.json"));
        symlink("report.json", &link).unwrap();
        for _ in 0..2 {
            clear(&link).unwrap();
            write(Keeps::Last, &link, &SenderReport::new("prod"), false).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(read(&path)["label"], "prod");
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644 & !umask());
    }

    #[test]
    fn directory_in_the_way_is_told_and_no_reason_not_to_start_where_others_may_have_put_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        fs::create_dir(&path).unwrap();
        assert!(check(Keeps::Last, &path, false).is_err());
        fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
        check(Keeps::Last, &path, false).unwrap();
        assert!(clear(&path).unwrap_err().message.contains("directory"));
        assert!(look(Keeps::Last, &path).unwrap_err().message.contains("directory"));
        assert!(write(Keeps::Last, &path, &SenderReport::new("prod"), false).is_err());
    }

    #[test]
    fn descriptor_of_another_process_is_written_to_and_neither_cleared_nor_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "a line\n").unwrap();
        let open = File::options().append(true).open(&log).unwrap();
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()));
        check(Keeps::Last, &path, false).unwrap();
        clear(&path).unwrap();
        write(Keeps::Last, &path, &SenderReport::new("prod"), false).unwrap();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.starts_with("a line\n{") && text.contains("prod"), "{text}");
    }

    #[test]
    fn pipe_that_nobody_reads_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        check(Keeps::Last, &path, false).unwrap();
        clear(&path).unwrap();
        let error = write(Keeps::Last, &path, &SenderReport::new("prod"), true).unwrap_err();
        assert!(error.message.contains("reader"), "{error}");
        assert!(path.exists());
    }
}
