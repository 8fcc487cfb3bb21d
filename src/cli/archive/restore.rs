//! `mcast archive restore`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::super::args::{command_line, path};
use super::super::error::Failure;
use super::super::launch;
use super::super::quantities;
use super::super::tool::Printed;
use super::super::values;
use super::{Place, SCHEMA, Which, copy, shown};
use crate::archive::directory::Directory;
use crate::archive::reader::Entry;
use crate::command::Commands;
use crate::disk::FileMode;
use crate::exit::Exit;
use crate::sink::file::Existing;
use crate::sink::several::{Launch, Plan, Sinks};

#[derive(Args, Debug)]
pub(in crate::cli) struct RestoreArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    which: Which,

    /// Write it to this file, which appears once it is verified
    #[arg(short, long, value_name = "PATH", value_parser = path())]
    output: Option<PathBuf>,

    /// With -o: replace a file of that name
    #[arg(long)]
    overwrite: bool,

    /// With -o: mode of the file once it is complete, such as 0640, whatever the umask is [default: 0600]
    #[arg(long, value_name = "OCTAL", value_parser = values::mode)]
    mode: Option<FileMode>,

    /// Give it to this command: it is killed if the entry is damaged, and its exit status counts
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Serialize)]
struct Restored<'a> {
    schema: u8,
    name: &'a str,
    bytes: u64,
    digest: &'a str,
    output: Option<String>,
}

pub(super) fn run(args: RestoreArgs) -> Result<Printed, Failure> {
    let line = command_line(args.command)?;
    if args.output.is_none() && line.is_none() {
        return Err(Failure::usage("say where to restore to: -o PATH, or a command after --"));
    }
    if args.output.is_none() {
        let lost = [("--overwrite", args.overwrite), ("--mode", args.mode.is_some())];
        if let Some((flag, _)) = lost.iter().find(|(_, given)| *given) {
            return Err(Failure::usage(format!("{flag} needs a file; name it with -o, or leave out {flag}")));
        }
    }
    if let Some(warning) =
        line.as_ref().and_then(|line| line.warning("restore to a file first, with -o FILE"))
    {
        // A closed stderr takes no warning.
        let _ = writeln!(io::stderr().lock(), "mcast: {warning}");
    }
    let archive = args.place.open()?;
    let name = args.which.find(&archive)?;
    let entry: Entry<Directory> = Entry::open(&archive, &name)?;
    let output = args.output.as_ref().map(|path| path.display().to_string());
    let mut plans = Vec::new();
    plans.extend(args.output.map(|path| Plan::File {
        path,
        existing: if args.overwrite { Existing::Replace } else { Existing::Refuse },
        mode: args.mode,
        then: None,
    }));
    let commands = line.is_some().then(launch::commands).transpose()?;
    if let (Some(line), Some(commands)) = (line, &commands) {
        let to = io::stdout().as_fd().try_clone_to_owned().map_err(launch::no_resource)?;
        plans.push(Plan::Command(Launch { line, commands: commands.clone(), output: to }));
    }
    let restored = restore(&entry, plans, commands.as_ref());
    launch::end_commands(commands.as_ref(), Duration::ZERO);
    restored?;
    let bytes = entry.manifest().bytes;
    if args.place.json {
        let digest = &entry.manifest().digest;
        let restored = Restored { schema: SCHEMA, name: name.as_str(), bytes, digest, output };
        return Ok(Printed { to_stderr: commands.is_some(), ..shown::document(&restored)? });
    }
    let text = format!("{name}: {} restored, verified\n", quantities::size(bytes));
    // What a command has printed stays by itself.
    Ok(Printed { to_stderr: commands.is_some(), ..Printed::text(text) })
}

fn restore(entry: &Entry<Directory>, plans: Vec<Plan>, commands: Option<&Commands>) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::SinkFailed, error);
    let mut sinks = Sinks::open(plans, || ());
    sinks.check().map_err(failed)?;
    match copy(entry, |bytes| sinks.write_all(&[bytes]).map_err(failed)) {
        Ok(end) => sinks.finish(end, &AtomicBool::new(false), |_| ()).map_err(failed),
        Err(failure) => {
            // Before its input ends.
            if let Some(commands) = commands {
                commands.kill_all();
            }
            Err(Failure { message: format!("{failure}; nothing was restored"), ..failure })
        }
    }
}
