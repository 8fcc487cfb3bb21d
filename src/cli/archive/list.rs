//! `mcast archive list`.

use std::io::{self, IsTerminal};

use clap::Args;
use jiff::Timestamp;
use rustix::termios::tcgetwinsize;

use super::super::error::Failure;
use super::super::tool::Printed;
use super::shown::{Listing, Shelf, document, table};
use super::{Of, Place};
use crate::archive::shelf::Item;
use crate::archive::store::Store;

#[derive(Args, Debug)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    of: Of,
}

pub(super) fn run(args: ListArgs) -> Result<Printed, Failure> {
    let archive = args.place.open()?;
    let all = Item::all(&archive)?;
    let (unfinished, misnamed) = (archive.drafts()?, archive.misnamed()?);
    let free = archive.free().ok().flatten();
    let items = args.of.select(&archive, all);
    let shelf = Shelf { items, unfinished, misnamed };
    let now = Timestamp::now();
    if args.place.json {
        return document(&Listing::new(&archive, &shelf, free, now));
    }
    Ok(Printed::text(table(&shelf, free, now, width())))
}

/// The width of the terminal that standard output is.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| tcgetwinsize(&stdout).ok()).flatten()?;
    // A terminal that does not know its width says 0.
    Some(size.ws_col.into()).filter(|width| *width > 0)
}
