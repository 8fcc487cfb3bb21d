//! The program `mcast`: see `mcast::cli::tool`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcast::cli::tool::main()
}
