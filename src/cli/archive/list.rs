//! `mcast archive list`.

use clap::Args;
use jiff::Timestamp;

use super::super::error::Failure;
use super::super::tool::Printed;
use super::{Of, Place, shown};
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
    let mut items = Item::all(&archive)?;
    items.retain(|item| args.of.wants(item));
    let unfinished = archive.drafts()?;
    let free = archive.free().ok().flatten();
    let now = Timestamp::now();
    if args.place.json {
        return shown::document(&shown::Listing::new(&archive, &items, &unfinished, free, now));
    }
    Ok(Printed::text(shown::table(&items, &unfinished, free, now)))
}
