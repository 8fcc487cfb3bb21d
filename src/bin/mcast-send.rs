//! The program `mcast-send`: see `mcast::cli::send`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcast::cli::send::main()
}
