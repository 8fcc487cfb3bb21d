//! `mcast archive cat`.

use std::io::{self, IoSlice, IsTerminal};

use clap::Args;
use serde::Serialize;

use super::super::error::Failure;
use super::super::tool::Printed;
use super::{Place, SCHEMA, Which, copy, shown};
use crate::archive::directory::Directory;
use crate::archive::reader::Entry;
use crate::exit::Exit;
use crate::sink::pipe::OutputPipe;

#[derive(Args, Debug)]
pub(in crate::cli) struct CatArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Serialize)]
struct Written<'a> {
    schema: u8,
    name: &'a str,
    bytes: u64,
    digest: &'a str,
}

pub(super) fn run(args: CatArgs) -> Result<Printed, Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::usage(
            "standard output is a terminal; redirect it, or use mcast archive restore",
        ));
    }
    let archive = args.place.open()?;
    let name = args.which.find(&archive)?;
    let entry: Entry<Directory> = Entry::open(&archive, &name)?;
    let mut pipe = OutputPipe::stdout()?;
    let copied = copy(&entry, |bytes| Ok(pipe.write_all(&mut [IoSlice::new(bytes)])?));
    copied.map_err(|failure| match failure.exit {
        Exit::Integrity => Failure { message: format!("{failure}; discard the output"), ..failure },
        _ => failure,
    })?;
    pipe.finish()?;
    if args.place.json {
        let manifest = entry.manifest();
        let written =
            Written { schema: SCHEMA, name: name.as_str(), bytes: manifest.bytes, digest: &manifest.digest };
        // Standard output carries the stream and nothing else.
        return Ok(Printed { to_stderr: true, ..shown::document(&written)? });
    }
    Ok(Printed::default())
}
