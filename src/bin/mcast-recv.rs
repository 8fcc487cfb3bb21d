//! The program `mcast-recv`: see `mcast::cli::recv`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcast::cli::recv::main()
}
