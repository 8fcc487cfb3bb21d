//! A rehearsal of an output file: everything that its commit will ask of the directory, once, with one byte, and undone.
//!
//! So the program can say at launch which step a directory refuses, instead of after hours of receiving.

use std::io::{self, IoSlice};
use std::path::Path;

use super::SinkError;
use super::file::{Existing, OutputFile, name, parent};
use super::unfinished::{TEMPORARY, first_free};
use crate::disk::{Disk, FileMode};

/// Makes a file beside `path` as an output file is made, names it, and removes it.
///
/// # Errors
/// With the step that was refused.
pub(super) fn rehearse<D: Disk>(
    disk: &D,
    path: &Path,
    existing: Existing,
    mode: Option<FileMode>,
) -> Result<(), SinkError> {
    let directory = parent(path);
    let shown = path.display();
    let refused = |step: &str| {
        let action = format!("cannot make file \"{shown}\", its directory does not let us {step}");
        move |error: io::Error| SinkError::new(action, error)
    };
    let cannot_create = |error| SinkError::new(format!("cannot create file \"{shown}\""), error);
    if disk.is_append_only(directory) {
        // Nothing in it can be removed, so nothing can be tried. A file without a name can be given one there.
        return match (existing, disk.create_unnamed(directory)) {
            (Existing::Refuse, Some(_)) => Ok(()),
            _ => Err(cannot_create(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the directory is append-only (chattr +a), and no file in it can be replaced or renamed",
            ))),
        };
    }
    let OutputFile { file, mut entry, .. } =
        OutputFile::create_on(disk.clone(), path.to_owned(), existing).map_err(cannot_create)?;
    disk.write_all(&file, &mut [IoSlice::new(b"x")]).map_err(refused("write to a file"))?;
    let with_mode = mode.map_or(Ok(()), |mode| disk.set_mode(&file, mode));
    with_mode.map_err(refused("set the mode of a file (leave out --mode)"))?;
    disk.sync(&file).map_err(refused("bring a file to the disk (fsync)"))?;
    let named = match existing {
        Existing::Refuse => first_free(path, TEMPORARY, |test| name(disk, &file, test, existing, &mut entry)),
        // Over a file of our own, as it will be at the end.
        Existing::Replace => {
            first_free(path, TEMPORARY, |test| disk.create_new(test).map(drop)).and_then(|((), test)| {
                match name(disk, &file, &test, existing, &mut entry) {
                    Ok(()) => Ok(((), test)),
                    Err(error) => {
                        let _ = disk.remove(&test);
                        Err(error)
                    }
                }
            })
        }
    };
    let step = match existing {
        Existing::Refuse => "give a file its name (link, or rename without replacing)",
        Existing::Replace => "give a file the name of another (rename)",
    };
    let ((), test) = named.map_err(refused(step))?;
    disk.remove(&test).map_err(refused(&format!("remove a file (\"{}\" stays)", test.display())))?;
    disk.sync_directory(directory).map_err(refused("bring a name to the disk (fsync)"))
}
