//! What the programs were asked to do, as plain values: no clap type, every bound already checked.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::KeySource;
use super::report_file::Keeps;
use super::template::Template;
use crate::archive::retention::Policy;
use crate::command::CommandLine;
use crate::disk::FileMode;

/// The group that is used where none is named: site-local (RFC 2365), "MC" in its last two bytes.
pub const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 77, 67));
/// The UDP port that is used where none is named.
pub const DEFAULT_PORT: u16 = 7767;
/// Label of a stream that was given none.
pub const DEFAULT_LABEL: &str = "default";
/// How long to wait for a session to start.
pub const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(600);
/// Silence after which a peer counts as dead.
pub const DEFAULT_PEER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the start window stays open where nothing says whom to wait for.
pub const DEFAULT_MIN_WAIT: Duration = Duration::from_secs(5);
/// Memory for unacknowledged data at the sender, in bytes: 1 Gbit/s over 67 ms, 10 Gbit/s over 6.7. More gains nothing on
/// a LAN; it leaves the processor's cache, and the end takes longer to drain to receivers that are slower than the sender
/// (`scripts/bench gigabit loss5 tail`).
pub const DEFAULT_WINDOW: u64 = 8 << 20;
/// Memory for data that the sink has not taken yet, in bytes.
pub const DEFAULT_BUFFER: u64 = 32 << 20;

/// Receivers that a session admits at most, which bounds the sender's tables.
pub const MOST_RECEIVERS: u32 = crate::session::MAX_RECEIVERS as u32;
/// Names that `--require` and `--expect-receivers` take at most, each.
pub const MOST_REQUIRED: u32 = 256;

/// `mcast-send`: everything its command line and environment decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendConfig {
    /// Where on the network.
    pub network: NetworkConfig,
    /// Where the key comes from, if there is one.
    pub keys: KeySource,
    /// Hops that multicast (or broadcast) datagrams may take, 1–255.
    pub ttl: u8,
    /// Where the stream comes from.
    pub source: SourceConfig,
    /// Name of the stream.
    pub label: String,
    /// Name of this sender in its announces.
    pub name: String,
    /// Whom to wait for, and how long.
    pub start: StartConfig,
    /// Silence after which a receiver counts as dead.
    pub peer_timeout: Duration,
    /// Time without a byte taken after which a living receiver that holds up the session is evicted; `None`: never.
    pub max_stall: Option<Duration>,
    /// Exit 0 although a receiver failed, if at least one succeeded.
    pub partial_ok: bool,
    /// Upper bound on the rate, in bits per second.
    pub rate: Option<u64>,
    /// Size of an IP datagram in bytes; `None`: what the interface carries.
    pub mtu: Option<u16>,
    /// Memory for unacknowledged data, in bytes.
    pub window: u64,
    /// Expected size of the stream in bytes, for the progress line only.
    pub size: Option<u64>,
    /// What people and programs are told.
    pub output: OutputConfig,
}

/// `mcast-recv`: everything its command line and environment decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecvConfig {
    /// Where on the network.
    pub network: NetworkConfig,
    /// Where the keys come from, if there are any.
    pub keys: KeySource,
    /// Hops that datagrams to the sender may take; `None`: the system's default for unicast.
    pub ttl: Option<u8>,
    /// Where the stream goes: one place or several.
    pub sinks: Vec<SinkConfig>,
    /// Mode of files and entries once they are complete; `None`: their owner's only, or that of the file that is replaced.
    pub mode: Option<FileMode>,
    /// The only label to accept.
    pub expect: Option<String>,
    /// How the sender's report calls this receiver.
    pub name: String,
    /// Give up when no session starts; `None`: wait for ever.
    pub start_timeout: Option<Duration>,
    /// After a session, wait for the next.
    pub repeat: bool,
    /// Silence after which the sender counts as dead.
    pub peer_timeout: Duration,
    /// Memory for data that the sink has not taken yet, in bytes.
    pub buffer: u64,
    /// A longer stream fails, in bytes.
    pub max_size: Option<u64>,
    /// What people and programs are told.
    pub output: OutputConfig,
}

/// Where on the network a session takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Name or address of the interface; `None`: by the route to the group.
    pub interface: Option<String>,
    /// The multicast group; with `broadcast`, only the route to it counts.
    pub group: IpAddr,
    /// UDP port of the group, which the sender's own address uses too.
    pub port: u16,
    /// Use the interface's broadcast address instead of the group.
    pub broadcast: bool,
}

/// The start window of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartConfig {
    /// Receivers to wait for; `None`: one is enough, and nobody has said so.
    pub min_receivers: Option<u32>,
    /// Start at once when so many have joined.
    pub max_receivers: Option<u32>,
    /// Names that must have joined, without repetition.
    pub require: Vec<String>,
    /// Names that should have joined, without repetition, and none of them in `require`.
    pub expect: Vec<String>,
    /// Keep the window open so long after the first join, for receivers beyond those that are waited for.
    pub min_wait: Duration,
    /// Start so long after the first join with those who are there.
    pub max_wait: Option<Duration>,
    /// Give up when the session has not started so long after launch; `None`: wait for ever.
    pub timeout: Option<Duration>,
}

impl StartConfig {
    /// Whether the command line says whom to wait for.
    pub const fn says_whom(&self) -> bool {
        self.min_receivers.is_some()
            || self.max_receivers.is_some()
            || !self.require.is_empty()
            || !self.expect.is_empty()
    }
}

/// Where the stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// Standard input.
    Stdin,
    /// This file.
    File(PathBuf),
    /// What this command writes, which is started with the session.
    Command(CommandLine),
}

/// Where the stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkConfig {
    /// Standard output.
    Stdout,
    /// This file, which appears under its name once it is verified.
    File {
        /// Its name, perhaps with places that the session fills in.
        path: Template,
        /// It takes the place of a file of that name.
        overwrite: bool,
        /// A line for the shell that is run once the file is there.
        then: Option<String>,
    },
    /// An entry in this archive.
    Archive(ArchiveConfig),
    /// This command's input; the command is started with the session.
    Command(CommandLine),
}

/// An archive, and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// Its directory.
    pub directory: PathBuf,
    /// Streams are cut into pieces of so many bytes; `None`: they are one.
    pub piece_size: Option<u64>,
    /// A line for the shell that is run once the entry is there.
    pub then: Option<String>,
    /// What is kept, once a session has succeeded.
    pub keep: Policy,
    /// Take part in no session while less is free, and fail one that leaves less.
    pub min_free: Option<Room>,
}

/// Room in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Its bytes.
    Bytes(u64),
    /// Its share of the file system's size, in per cent.
    Share(u8),
}

/// What people and programs are told about the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputConfig {
    /// Where the report goes at exit.
    pub report: Option<PathBuf>,
    /// File to which the report of each session is appended.
    pub report_log: Option<PathBuf>,
    /// When to show progress.
    pub progress: ProgressMode,
    /// Nothing but errors.
    pub quiet: bool,
    /// 0: milestones, 1: state changes, 2 and more: datagrams.
    pub verbose: u8,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// When log lines have colours.
    pub color: ColorMode,
}

impl OutputConfig {
    /// The places of reports.
    pub(super) fn reports(&self) -> impl Iterator<Item = (Keeps, &Path)> {
        let places = [(Keeps::Last, &self.report), (Keeps::All, &self.report_log)];
        places.into_iter().filter_map(|(keeps, path)| Some((keeps, path.as_deref()?)))
    }
}

/// When to show progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// A live line on a terminal, else a plain line every 30 s.
    #[default]
    Auto,
    /// A live line on a terminal, else a plain line every second.
    Always,
    /// As `Auto`, and at a sender a line for each receiver.
    Receivers,
    /// None.
    Never,
}

/// When log lines for people have colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMode {
    /// On a terminal, unless NO_COLOR or TERM=dumb speaks against it.
    #[default]
    Auto,
    /// In files and pipes as well.
    Always,
    /// Nowhere.
    Never,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
