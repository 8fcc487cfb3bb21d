//! The guard of a command: a process of this program between the program and the command.
//!
//! It is the command's parent and the subreaper of all that the command starts, so nothing of it gets away unseen. When
//! the program hangs up, be it because it was killed, the guard kills the command with its group and whatever descends
//! from it, and only then lets go of the command's input.

use std::convert::Infallible;
use std::env::ArgsOs;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, setsid, test_kill_process_group, waitpid,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::OwnedReadHalf;
use tokio::signal::unix::{SignalKind, signal};

use super::wires::{self, News, RELEASE};

/// The name under which this program is started as a guard.
pub(super) const GUARD: &str = "mcast-guard";
/// The name under which it is started to become the command.
const BECOME: &str = "mcast-become";

/// Does a guard's work if this process was started as one, and gives its exit code then.
pub fn main_if_asked(mut arguments: ArgsOs) -> Option<ExitCode> {
    let name = arguments.next()?;
    let result = match name.to_str()? {
        GUARD => guard(arguments),
        BECOME => match become_command(arguments) {
            Err(error) => Err(error),
        },
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told where stderr is closed.
            let _ = writeln!(io::stderr().lock(), "mcast: cannot run a command: {error}");
            let not_found = error.kind() == io::ErrorKind::NotFound;
            // As shells do.
            if not_found { 127.into() } else { 126.into() }
        }
    })
}

/// The last step before the command: a session of its own, and its end with the guard's.
fn become_command(mut arguments: ArgsOs) -> io::Result<Infallible> {
    let (guard, program) = arguments.next().zip(arguments.next()).ok_or(io::ErrorKind::InvalidInput)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The guard may have died before that took effect.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref().map(AsRef::as_ref) != Some(guard.as_os_str()) {
        return Err(io::Error::other("its guard has gone"));
    }
    // No terminal either: what asks there for a password gets an error instead of being stopped for ever.
    setsid()?;
    Err(Command::new(program).args(arguments).exec())
}

fn guard(mut arguments: ArgsOs) -> io::Result<()> {
    let program = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
    // Whoever kills the program by its name or by its group shall not hit the guard too.
    setsid()?;
    rustix::thread::set_name(c"mcast-guard")?;
    set_child_subreaper(Some(getpid()))?;
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut descriptors = wires::receive(&control)?.into_iter();
    let (input, output) = descriptors.next().zip(descriptors.next()).ok_or(io::ErrorKind::UnexpectedEof)?;
    let held = Held(descriptors.next());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // Who stops a service sends TERM to all of its processes at once. The program decides what that means.
        let _deaf = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        control.set_nonblocking(true)?;
        let (orders, mut news) = tokio::net::UnixStream::from_std(control)?.into_split();
        let command = spawn(&program, arguments, input, output, &held);
        let (command, leader) = match command.and_then(|command| Ok((pid(&command)?, command))) {
            Ok((leader, command)) => (command, leader),
            Err(error) => {
                let number = error.raw_os_error().and_then(|number| u32::try_from(number).ok());
                return news.write_all(&News::NotStarted(number.unwrap_or_default()).to_bytes()).await;
            }
        };
        let number = leader.as_raw_nonzero().get().unsigned_abs();
        news.write_all(&News::Started(number).to_bytes()).await.ok();
        let ended = watch(command, leader, orders, held, || {
            news.try_write(&News::Survives(number).to_bytes()).ok();
        });
        news.write_all(&ended.await.to_bytes()).await.ok();
        Ok(())
    })
}

/// The socket in which the writing end of the command's input waits; the command has it too.
struct Held(Option<OwnedFd>);

impl Held {
    /// Lets the command see the end of its input.
    fn release(&mut self) {
        if let Some(socket) = self.0.take() {
            // Closes what it receives.
            wires::receive(&socket).ok();
        }
    }
}

fn spawn(
    program: &OsString,
    arguments: ArgsOs,
    input: OwnedFd,
    output: OwnedFd,
    held: &Held,
) -> io::Result<tokio::process::Child> {
    if let Some(socket) = &held.0 {
        fcntl_setfd(socket, FdFlags::empty())?;
    }
    let own = getpid().as_raw_nonzero().to_string();
    tokio::process::Command::new("/proc/self/exe")
        .arg0(BECOME)
        .arg(own)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .spawn()
}

fn pid(command: &tokio::process::Child) -> io::Result<Pid> {
    let raw = command.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    raw.ok_or_else(|| io::Error::from(Errno::SRCH))
}

/// Until the command has ended and its group with it, by itself or by force.
async fn watch(
    mut command: tokio::process::Child,
    leader: Pid,
    mut orders: OwnedReadHalf,
    mut held: Held,
    survives: impl FnOnce(),
) -> News {
    let mut ended: Option<ExitStatus> = None;
    loop {
        let mut order = [0];
        let hung_up = tokio::select! {
            status = command.wait(), if ended.is_none() => {
                // Without a status there is nobody to wait for any more.
                ended = Some(status.unwrap_or(ExitStatus::from_raw(Signal::KILL.as_raw())));
                false
            }
            read = orders.read(&mut order) => match read {
                Ok(1) if order == [RELEASE] => {
                    held.release();
                    false
                }
                _ => true,
            },
            () = tokio::time::sleep(LOOK), if ended.is_some() => false,
        };
        if let Some(status) = ended {
            // The command has succeeded once all of its group has ended: a shell does not wait for `>(…)` and `&`.
            reap();
            if !status.success() {
                kill_all(leader, &held, survives).await;
                return News::from(status);
            }
            if has_ended(leader) {
                return News::from(status);
            }
        }
        if hung_up {
            kill_all(leader, &held, survives).await;
            return News::Killed(Signal::KILL.as_raw().unsigned_abs());
        }
    }
}

impl From<ExitStatus> for News {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code.unsigned_abs()),
            (None, signal) => Self::Killed(signal.unwrap_or_default().unsigned_abs()),
        }
    }
}

/// Kills the group, and then whatever has left it, as it becomes this process's child when its parent dies. Returns when
/// nobody is left, or when this user may not kill who is: then that one keeps its input open until it ends by itself.
async fn kill_all(leader: Pid, held: &Held, survives: impl FnOnce()) {
    let mut survives = Some(survives);
    let patience = tokio::time::sleep(KILL_PATIENCE);
    tokio::pin!(patience);
    let mut is_overdue = false;
    let mut group_has_ended = false;
    loop {
        // Once the group has ended, its number may become that of another one.
        if !group_has_ended {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        let children = children();
        for child in &children {
            let _ = kill_process(*child, Signal::KILL);
            let _ = waitpid(Some(*child), WaitOptions::NOHANG);
        }
        group_has_ended = group_has_ended || has_ended(leader);
        if children.is_empty() && group_has_ended {
            return;
        }
        if is_overdue {
            if let Some(survives) = survives.take() {
                survives();
            }
            if held.0.is_none() {
                return;
            }
        }
        tokio::select! {
            biased;
            () = &mut patience, if !is_overdue => is_overdue = true,
            () = tokio::time::sleep(if is_overdue { LOOK } else { KILL_LOOK }) => {}
        }
    }
}

/// No process of the group is left. A process of another user, which may not be signalled, is one that is left.
fn has_ended(group: Pid) -> bool {
    test_kill_process_group(group) == Err(Errno::SRCH)
}

/// Lets go of those that have ended; the command itself is waited for before this is called.
fn reap() {
    for child in children() {
        let _ = waitpid(Some(child), WaitOptions::NOHANG);
    }
}

/// The living and dead children of this process; none where /proc does not tell.
fn children() -> Vec<Pid> {
    let mut children = Vec::new();
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return children };
    for task in tasks.flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    children
}

/// How often a group is looked at whose leader has ended. Nothing tells of a group's end; a fiftieth of a second is
/// nothing beside a restore, and fifty looks a second cost nothing.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is looked whether who was killed has gone.
const KILL_LOOK: Duration = Duration::from_millis(2);
/// Time after which a process that was killed counts as a survivor. It is measured, since a pause of 2 ms takes longer than
/// that, and it leaves the guard half a second to say so before the program kills it (`GUARD_PATIENCE`).
const KILL_PATIENCE: Duration = Duration::from_millis(700);
