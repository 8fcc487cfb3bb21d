//! `mcast keygen`: a key file for a group of hosts.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::error::{Failure, visible};
use super::keys::{self, DEFAULT_KEY_FILE};
use super::launch;
use crate::exit::Exit;
use crate::seal::{GroupKey, Secret};

/// Makes a key file and says what its key is called.
pub(super) fn run(path: Option<PathBuf>) -> Result<String, Failure> {
    let path = match path {
        Some(path) => path,
        None => {
            let path = PathBuf::from(DEFAULT_KEY_FILE);
            // Whoever may not make the directory is told so by the attempt to create the file.
            let _ = path.parent().map(make_private_directory);
            path
        }
    };
    keys::hide_memory();
    let secret = Secret::new(launch::random()?);
    create(&path, secret.to_text().as_bytes()).map_err(|error| refusal(&path, &error))?;
    if geteuid().is_root() {
        // A closed stderr is no reason to fail: the key is there.
        let _ = writeln!(io::stderr().lock(), "mcast: {}", visible(&advice_for_root(&path)));
    }
    Ok(format!("{}: key id {}\n", path.display(), GroupKey::new(&secret).id()))
}

/// A directory that nobody but its owner may look into, whatever the umask.
fn make_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// A new file that nobody but its owner can read, and that survives a power cut; none if it cannot be completed.
fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where directories cannot be synced, the file is there all the same.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

/// Tells root how another user gets to use the key.
fn advice_for_root(path: &Path) -> String {
    let (path, default) = (path.display(), Path::new(DEFAULT_KEY_FILE));
    // The directory is root's alone, too.
    let change = match default.parent().filter(|_| path.to_string() == DEFAULT_KEY_FILE) {
        Some(directory) => format!("chown -R USER {}", directory.display()),
        None => format!("chown USER {path}"),
    };
    format!(
        "only root can use this key; for a program that runs as another user: {change}, or make it as that user \
         (sudo -u USER mcast keygen)"
    )
}

fn refusal(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    let message = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("\"{path}\" exists, and a key is never overwritten; name another file, or move it away")
        }
        _ => format!(
            "cannot create key file \"{path}\": {error}; name a file in a directory that you may write to"
        ),
    };
    Failure::new(Exit::LocalResource, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_of_the_key_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mcast");
        make_private_directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn root_is_told_how_another_user_gets_the_key() {
        let advice = advice_for_root(Path::new(DEFAULT_KEY_FILE));
        assert!(advice.contains("only root") && advice.contains("chown -R USER /etc/mcast,"), "{advice}");
        assert!(advice_for_root(Path::new("/srv/key")).contains("chown USER /srv/key,"));
    }

    #[test]
    fn a_key_file_is_its_owners_alone_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let said = run(Some(path.clone())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = fs::read(&path).unwrap();
        let id = GroupKey::new(&Secret::parse(&text).unwrap()).id();
        assert_eq!(said, format!("{}: key id {id}\n", path.display()));
        let refused = run(Some(path.clone())).unwrap_err();
        assert_eq!(refused.exit, Exit::LocalResource);
        assert!(refused.message.contains("exists"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), text);
    }

    #[test]
    fn two_keys_are_never_the_same_and_no_place_for_one_is_an_error_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        run(Some(one.clone())).unwrap();
        run(Some(two.clone())).unwrap();
        assert_ne!(fs::read(one).unwrap(), fs::read(two).unwrap());
        let refused = run(Some(directory.path().join("missing/key"))).unwrap_err();
        assert!(refused.exit == Exit::LocalResource && refused.message.contains("missing/key"), "{refused}");
    }
}
