//! Both programs in one process, over the loopback interface, for tests of what happens when a thread of one dies.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::config::{RecvConfig, SendConfig};
use super::environment::Environment;
use super::usage::Asked;
use super::{recv, send};

/// True in a process that runs this test alone: caught signals stay caught, and a panic is remembered, so these tests have
/// a process of their own. False where that process has passed.
pub(super) fn alone(test: &str) -> bool {
    const INSIDE: &str = "MCAST_TEST_INSIDE_CHILD";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", "--nocapture", test]).env(INSIDE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

/// A sender of `file` to one receiver, on this port.
pub(super) fn sender(port: &str, file: &Path) -> SendConfig {
    let args = ["mcast-send", "-i", "lo", "-p", port, "--no-key", "-n", "1", "--start-timeout", "30s", "-f"];
    match send::config(args.map(OsString::from).into_iter().chain([file.into()]), &Environment::none(), false)
    {
        Ok(Asked::Run(config)) => config,
        _ => panic!("a command line that is right"),
    }
}

/// A receiver into `file`, on this port.
pub(super) fn receiver(port: &str, file: &Path) -> RecvConfig {
    let args = ["mcast-recv", "-i", "lo", "-p", port, "--no-key", "--start-timeout", "30s", "-o"];
    match recv::config(args.map(OsString::from).into_iter().chain([file.into()]), &Environment::none(), false)
    {
        Ok(Asked::Run(config)) => config,
        _ => panic!("a command line that is right"),
    }
}

/// A stream of several blocks.
pub(super) fn stream(directory: &Path) -> std::path::PathBuf {
    let file = directory.join("stream");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    file
}
