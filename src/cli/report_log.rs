//! The log of reports: a file that grows by one line a session, and that other users can neither lead elsewhere nor own.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::report_file::{is_private, is_trusted, parent};

/// Appends a line, which ends with a line feed, in one write, so that the lines of programs that share the log do not mix.
/// A log that is not there is made, for its owner alone.
///
/// # Errors
/// When the file takes nothing, or less than the line, or is one that others have a hand in.
pub(super) fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    // The last component is no symbolic link, and what opens may be a FIFO by now, which must not hold anything up.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = File::from(openat(CWD, path, flags | OFlags::NOCTTY | OFlags::CLOEXEC, mode)?);
    check(path, &file.metadata()?).map_err(io::Error::other)?;
    let mut text = Vec::with_capacity(line.len() + 1);
    if has_cut_line(&file)? {
        text.push(b'\n');
    }
    text.extend_from_slice(line);
    let written = rustix::io::write(&file, &text)?;
    if written < text.len() {
        return Err(io::Error::other(format!("only {written} of {} bytes were written", text.len())));
    }
    file.sync_data()
}

/// Whether this is a file to append to.
///
/// # Errors
/// When it is none, or one through which another user could read the reports, or lead them into a third file.
pub(super) fn check(path: &Path, there: &std::fs::Metadata) -> Result<(), String> {
    if !there.is_file() {
        return Err("it is no file; name one".to_owned());
    }
    if is_private(parent(path)) {
        return Ok(());
    }
    let remedy = "and is not used; name a file in a directory of your own";
    if !is_trusted(there) {
        return Err(format!("a file of user {} has the name, {remedy}", there.uid()));
    }
    if there.nlink() > 1 {
        return Err(format!("the file has other names as well, {remedy}"));
    }
    Ok(())
}

/// Whether the last line has no end, because the disk was full when it was written.
fn has_cut_line(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        rustix::io::pread(file, &mut last, length - 1)?;
    }
    Ok(last != [b'\n'])
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn log_is_made_for_its_owner_and_grows_by_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        append(&path, b"{\"a\":1}\n").unwrap();
        append(&path, b"{\"a\":2}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"a\":2}\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn line_that_was_cut_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "{\"a\":").unwrap();
        append(&path, b"{\"a\":2}\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":\n{\"a\":2}\n");
    }

    #[test]
    fn link_is_not_followed_and_directory_is_no_log() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("link"), directory.path().join("target"));
        symlink(&target, &link).unwrap();
        assert!(append(&link, b"{}\n").is_err());
        assert!(!target.exists());
        assert!(append(directory.path(), b"{}\n").is_err());
    }

    #[test]
    fn file_that_others_may_have_put_there_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let shared = directory.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
        let (mine, link) = (directory.path().join("mine"), shared.join("log"));
        fs::write(&mine, "keep\n").unwrap();
        fs::hard_link(&mine, &link).unwrap();
        let error = append(&link, b"{}\n").unwrap_err();
        assert!(error.to_string().contains("other names"), "{error}");
        assert_eq!(fs::read_to_string(&mine).unwrap(), "keep\n");
        fs::remove_file(&link).unwrap();
        append(&link, b"{}\n").unwrap();
        append(&link, b"{}\n").unwrap();
    }
}
