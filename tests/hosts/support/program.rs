//! A program on a host: started, fed, listened to, signalled, waited for, and ended by its id when dropped.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_recv_buffer_size, socket_recv_buffer_size};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use super::kernel::{Ability, Kernel};
use super::keys::{self, Keys, Pass};
use super::processes::Tag;
use super::stdio::{Feeder, Listener, Taker};
use super::wait::{Stopwatch, comes_true, interest, readable};
use super::{KIB, PATIENCE, Source};

/// A program that is about to be started.
pub(crate) struct Launch {
    what: String,
    command: Command,
    directory: TempDir,
    keys: Keys,
    looks_for_key: bool,
    source: Option<Source>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<(Stdio, Box<dyn Read + Send>)>,
    takes: u64,
    then_closes: bool,
    trailing: Vec<String>,
    kernel: Kernel,
    tag: Tag,
}

impl Launch {
    /// `command` should be made by [`super::Host::command`] or [`blind::command`](crate::blind::command).
    pub(crate) fn new(mut command: Command, what: &str) -> Self {
        let tag = Tag::new();
        tag.mark(&mut command);
        let directory = tempfile::Builder::new().prefix("mcast-test-").tempdir().unwrap();
        Self {
            what: what.to_owned(),
            command,
            directory,
            keys: Keys::new(),
            looks_for_key: false,
            source: None,
            stdin: None,
            stdout: None,
            stderr: None,
            takes: u64::MAX,
            then_closes: false,
            trailing: Vec::new(),
            kernel: Kernel::default(),
            tag,
        }
    }

    /// `-- sh -c SCRIPT`, in which `$D` is the program's own directory. Nothing can follow.
    pub(crate) fn runs(mut self, script: &str) -> Self {
        self.trailing = vec!["--".into(), "sh".into(), "-c".into(), script.into()];
        self.command.env("D", self.directory.path());
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// `--output FILE` in a directory of its own.
    pub(crate) fn writes_file(mut self) -> Self {
        let path = self.directory.path().join(OUTPUT);
        self.command.arg("--output").arg(path);
        self
    }

    /// The program gets no option about keys, and looks for one by itself.
    pub(crate) fn looks_for_key(mut self) -> Self {
        self.looks_for_key = true;
        self
    }

    /// A variable in the program's environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// A file in the program's own directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Stdin is a pipe that brings this source as far as the test feeds it.
    pub(crate) fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Stderr is this, and what the program says is read there.
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>, reads: impl Read + Send + 'static) -> Self {
        self.stderr = Some((stderr.into(), Box::new(reads)));
        self
    }

    /// Whoever reads the program's stdout takes so many bytes, and no more until told.
    pub(crate) fn takes(mut self, bytes: u64) -> Self {
        self.takes = bytes;
        self
    }

    /// Whoever reads the program's stdout closes it after so many bytes.
    pub(crate) fn takes_and_closes(mut self, bytes: u64) -> Self {
        self.takes = bytes;
        self.then_closes = true;
        self
    }

    /// The program finds a kernel without these.
    pub(crate) fn without(mut self, abilities: &[Ability]) -> Self {
        self.kernel = Kernel::without(abilities);
        self
    }

    /// Starts it, with `--report` in a directory of its own, and with the key of this pass, or `--no-key`, unless the
    /// test has said which key it uses, or that it looks for one. So no other looks for a key on this machine.
    pub(crate) fn start(mut self) -> Program {
        let said = |argument: &OsStr| KEY_OPTIONS.iter().any(|option| argument == *option);
        if !self.looks_for_key && !self.command.get_args().any(said) {
            match keys::pass() {
                Pass::Plain => self.command.arg("--no-key"),
                Pass::WithKey => self.command.arg("--key-file").arg(self.keys.file(keys::OF_THE_PASS)),
            };
        }
        self.command.arg("--report").arg(self.directory.path().join(REPORT));
        self.command.args(self.trailing);
        let given_stdin = self.stdin.take().unwrap_or_else(Stdio::null);
        self.command.stdin(if self.source.is_some() { Stdio::piped() } else { given_stdin });
        let (stderr, reads) = self.stderr.take().unzip();
        self.command.stdout(self.stdout.take().unwrap_or_else(Stdio::piped));
        self.command.stderr(stderr.unwrap_or_else(Stdio::piped));
        let mut child =
            self.kernel.spawn(&mut self.command).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let feeder = self.source.and_then(|source| Some(Feeder::new(child.stdin.take()?, source)));
        let taker = child.stdout.take().map(|stdout| Taker::new(stdout, self.takes, self.then_closes));
        let listener = match (reads, child.stderr.take()) {
            (Some(reads), _) => Listener::new(reads),
            (None, stderr) => Listener::new(stderr.unwrap()),
        };
        Program {
            what: self.what,
            child,
            handle,
            directory: self.directory,
            _keys: self.keys,
            feeder,
            taker,
            listener,
            status: None,
            tag: self.tag,
        }
    }
}

/// A program that was started.
pub(crate) struct Program {
    what: String,
    child: Child,
    /// Names the process for ever, unlike its number.
    handle: OwnedFd,
    directory: TempDir,
    /// The key file, which a program with `--repeat` may read again.
    _keys: Keys,
    feeder: Option<Feeder>,
    taker: Option<Taker>,
    listener: Listener,
    status: Option<ExitStatus>,
    tag: Tag,
}

impl Program {
    /// Lets the program read the source up to `offset`.
    pub(crate) fn feed_to(&mut self, offset: u64) {
        self.feeder.as_mut().expect("a program with a source").feed_to(offset);
    }

    /// Lets the program read the rest of the source, and end of file.
    pub(crate) fn finish(&mut self) {
        self.feeder.as_mut().expect("a program with a source").finish();
    }

    /// Waits until the program has written so many bytes to its stdout.
    pub(crate) fn must_deliver(&self, len: u64, within: Duration) {
        let taker = self.taker();
        assert!(
            taker.reaches(len, within),
            "{} delivered {} instead of {len} bytes in {within:?}",
            self.what,
            taker.len()
        );
    }

    /// True if the program writes so many bytes to its stdout in that time.
    pub(crate) fn delivers(&self, len: u64, within: Duration) -> bool {
        self.taker().reaches(len, within)
    }

    /// Bytes that the program has written to its stdout so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taker().len()
    }

    /// Reads the program's stdout to its end from now on.
    pub(crate) fn take_all(&self) {
        self.taker().take_all();
    }

    /// Waits until stderr contains these words.
    pub(crate) fn must_say(&self, words: &str, within: Duration) {
        assert!(self.listener.hears(words, within), "{} did not say {words:?} in {within:?}", self.what);
    }

    /// Waits until this sender has let a receiver of that name join.
    pub(crate) fn must_have_joined(&self, name: &str) {
        self.must_say(&format!("{name} joined"), PATIENCE);
    }

    /// The most memory that the program, which still runs, has had at one time, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak = peak.unwrap_or_else(|| panic!("{} does not run", self.what));
        peak.trim().parse::<u64>().expect("a number") * KIB
    }

    /// Descriptors that the program, which still runs, has open.
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().flatten();
        let mut open: Vec<_> = entries
            .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string()))
            .collect();
        open.sort();
        open
    }

    /// Waits until the program handles SIGTERM itself, from where on it owes an orderly end.
    pub(crate) fn must_catch_signals(&self) {
        let status = format!("/proc/{}/status", self.child.id());
        let term = 1_u64 << (Signal::TERM.as_raw() - 1);
        let catches = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
                .is_some_and(|mask| mask & term != 0)
        };
        let ended = || readable(&mut [interest(&self.handle)], Duration::ZERO);
        let settled = comes_true(PATIENCE, || catches() || ended());
        assert!(settled && catches(), "{} does not catch SIGTERM", self.what);
    }

    /// Makes the receive buffer of the program's socket at this port as small as a host with little memory has it.
    pub(crate) fn must_get_along_with_a_receive_buffer_of(&self, bytes: usize, port: u16) {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let numbers = descriptors.map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap());
        let sockets = numbers.filter_map(|number| {
            let copy = pidfd_getfd(&self.handle, number, PidfdGetfdFlags::empty()).ok()?;
            let address = rustix::net::getsockname(&copy).ok()?;
            let address = std::net::SocketAddr::try_from(address).ok()?;
            (address.port() == port).then_some(copy)
        });
        let mut count = 0;
        for socket in sockets {
            // The kernel doubles what it is asked for.
            set_socket_recv_buffer_size(&socket, bytes / 2).unwrap();
            assert_eq!(socket_recv_buffer_size(&socket).unwrap(), bytes);
            count += 1;
        }
        assert!(count > 0, "{} has no socket at port {port}", self.what);
    }

    /// Processor time that the program, which still runs, has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name in parentheses may have spaces; user and system time are the 12th and 13th field after it.
        let fields =
            text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).expect("a running program");
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.handle, signal).unwrap_or_else(|error| panic!("{}: {error}", self.what));
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits for the end, which must come with one of these codes; gives the code and how long it took.
    pub(crate) fn must_exit(&mut self, codes: &[u8], within: Duration) -> (u8, Duration) {
        let watch = Stopwatch::start();
        let Some(status) = self.ends(within) else {
            panic!("{} still runs after {within:?} instead of exiting with {codes:?}", self.what);
        };
        let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| codes.contains(code));
        let Some(code) = code else { panic!("{} ended with {status} instead of {codes:?}", self.what) };
        (code, watch.elapsed())
    }

    /// Waits for the end, whatever it is.
    pub(crate) fn ends(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.status.is_none() && readable(&mut [interest(&self.handle)], within) {
            self.status = Some(self.child.wait().unwrap());
        }
        self.status
    }

    /// The program's stdout, now ended, was all of the source.
    pub(crate) fn must_have_delivered(&self, source: Source) {
        let (len, digest) = self.delivered();
        assert!(
            len == source.len() && digest == source.digest(),
            "{} delivered {len} bytes that are not the {} of the source",
            self.what,
            source.len()
        );
    }

    /// The program's stdout, now ended, was a beginning of the source.
    pub(crate) fn must_have_delivered_a_prefix(&self, source: Source) {
        let (len, digest) = self.delivered();
        assert!(
            len <= source.len() && digest == source.digest_of_first(len),
            "{} delivered {len} bytes that are no prefix of the source",
            self.what
        );
    }

    /// The file of [`Launch::writes_file`] is all of the source.
    pub(crate) fn must_have_written(&self, source: Source) {
        let mut hasher = blake3::Hasher::new();
        let file =
            std::fs::File::open(self.output()).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        hasher.update_reader(file).unwrap();
        assert!(hasher.finalize() == source.digest(), "{} wrote a file that is not the source", self.what);
    }

    /// The file of [`Launch::writes_file`].
    pub(crate) fn output(&self) -> PathBuf {
        self.directory.path().join(OUTPUT)
    }

    /// No file but the report stays behind: neither under the final name nor under a temporary one.
    pub(crate) fn must_leave_no_file(&self) {
        let left: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != REPORT)
            .collect();
        assert!(left.is_empty(), "{} left {left:?}", self.what);
    }

    /// The program's processes: itself, its guards, its commands and whatever they have started.
    pub(crate) fn processes(&self) -> &Tag {
        &self.tag
    }

    /// A file in the program's own directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The report, which is there whenever the program has ended by itself.
    pub(crate) fn report(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.directory.path().join(REPORT));
        let text = text.unwrap_or_else(|error| panic!("report of {}: {error}", self.what));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("report of {}: {error}: {text}", self.what))
    }

    /// What the report says about the receiver of this name.
    pub(crate) fn report_of(&self, name: &str) -> serde_json::Value {
        let report = self.report();
        let receivers = report["receivers"].as_array().cloned().unwrap_or_default();
        receivers
            .into_iter()
            .find(|receiver| receiver["name"] == name)
            .unwrap_or_else(|| panic!("report of {} does not name {name}: {report}", self.what))
    }

    /// All of stderr, once the program has ended.
    pub(crate) fn stderr(&self) -> String {
        self.listener.to_end(PATIENCE)
    }

    /// Stderr up to now.
    pub(crate) fn stderr_so_far(&self) -> String {
        self.listener.text()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Length and digest of all that the program wrote to its stdout, once it is closed.
    pub(crate) fn delivered(&self) -> (u64, blake3::Hash) {
        self.taker().to_end(PATIENCE).unwrap_or_else(|| panic!("{} does not close its stdout", self.what))
    }

    fn taker(&self) -> &Taker {
        self.taker.as_ref().expect("a program whose stdout the test reads")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may have ended by itself; it is ours until it is waited for.
            let _ = pidfd_send_signal(&self.handle, Signal::KILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {} ({:?}) said:\n{}", self.what, self.status, self.listener.text());
        }
    }
}

const OUTPUT: &str = "output";
const REPORT: &str = "report.json";
/// Options by which a test says itself which key a program uses.
const KEY_OPTIONS: [&str; 3] = ["-k", "--key-file", "--no-key"];
