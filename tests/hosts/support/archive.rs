//! An archive on a file server, and what is done to it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::program::Launch;
use super::{Host, Lab, PATIENCE, Program, Source};
use crate::blind;

/// For both sides of a session, so that no test waits long for a peer that has died.
pub(crate) const HASTY: &[&str] = &["--peer-timeout", "2s"];

/// An archive on a file server.
pub(crate) struct Archive(TempDir);

impl Archive {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("mcast-archive-").tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A receiver that fills it.
    pub(crate) fn recv(&self, host: &Host) -> Launch {
        host.recv("files").args(HASTY).arg("--archive").arg(self.path())
    }

    /// Like the function before, under this program.
    pub(crate) fn recv_under(&self, wrapper: &[&str], host: &Host) -> Launch {
        host.recv_under(wrapper, "files").args(HASTY).arg("--archive").arg(self.path())
    }

    /// Everything that is in it, hidden or not. Unlike a listing this locks no entry, which would keep a receiver from
    /// removing it at that moment.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The only entry, which is all there is.
    pub(crate) fn only(&self) -> PathBuf {
        let names = self.names();
        assert_eq!(names.len(), 1, "{names:?}");
        self.path().join(&names[0])
    }

    /// `mcast archive TASK DIR REST…`.
    pub(crate) fn command(&self, task: &str, rest: &[&str]) -> Command {
        let mut command = blind::command(env!("CARGO_BIN_EXE_mcast"));
        command.args(["archive", task]).arg(self.path()).args(rest);
        command
    }

    pub(crate) fn ask(&self, task: &str, rest: &[&str], code: i32) -> Output {
        self.ask_under(&[], task, rest, code)
    }

    /// Like the function before, under this program.
    pub(crate) fn ask_under(&self, wrapper: &[&str], task: &str, rest: &[&str], code: i32) -> Output {
        let command = self.command(task, rest);
        let line: Vec<_> = wrapper
            .iter()
            .map(OsStr::new)
            .chain(std::iter::once(command.get_program()).chain(command.get_args()))
            .collect();
        let mut command = blind::command(line[0]);
        let output = command.args(&line[1..]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{task} {rest:?}: {said}");
        output
    }

    pub(crate) fn json(&self, task: &str, rest: &[&str], code: i32) -> serde_json::Value {
        let output = self.ask(task, &[rest, &["--json"]].concat(), code);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The entries and what is in the making or left over, each with its state.
    pub(crate) fn states(&self) -> Vec<String> {
        let listing = self.json("list", &[], 0);
        let all = [&listing["entries"], &listing["unfinished"]];
        let items = all.iter().flat_map(|items| items.as_array().unwrap());
        items.map(|item| item["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The complete entries, each with its session.
    pub(crate) fn complete(&self) -> BTreeMap<String, String> {
        let listing = self.json("list", &[], 0);
        let complete =
            listing["entries"].as_array().unwrap().iter().filter(|item| item["state"] == "complete");
        let text = |item: &serde_json::Value, key: &str| item[key].as_str().unwrap().to_owned();
        complete.map(|item| (text(item, "name"), text(item, "session"))).collect()
    }

    /// A session from the sender's host, which becomes an entry; gives its name, as the report has it.
    pub(crate) fn fill(&self, lab: &Lab, source: Source, options: &[&str]) -> String {
        let mut receiver = self.recv(lab.host(1)).args(options).start();
        let mut sender = sends(lab, &["-n", "1", "-l", "shop"], source);
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        entry_of(&receiver)
    }
}

pub(crate) fn entry_of(receiver: &Program) -> String {
    let report = receiver.report();
    report["archive"]["entry"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned()
}

/// A sender that has all of its source.
pub(crate) fn sends(lab: &Lab, options: &[&str], source: Source) -> Program {
    let mut sender = lab.sender().send().args(HASTY).args(options).source(source).start();
    sender.finish();
    sender
}

pub(crate) fn must_be(bytes: &[u8], source: Source) {
    assert!(bytes.len() as u64 == source.len() && blake3::hash(bytes) == source.digest());
}

pub(crate) fn damage(entry: &Path) {
    let data = entry.join("data");
    let mut bytes = fs::read(&data).unwrap();
    let last = bytes.last_mut().unwrap();
    *last ^= 1;
    fs::write(data, bytes).unwrap();
}
