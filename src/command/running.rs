//! Commands as the program sees them: started, given or asked for the stream, killed, waited for.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal, test_kill_process,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use super::wires::{self, News, RELEASE};
use super::{CommandLine, Status, guard};

/// Which way the stream goes.
#[derive(Debug)]
pub enum Stream {
    /// The command writes it; this is where it reads from.
    FromCommand(OwnedFd),
    /// The command reads it; this is where it writes to.
    ToCommand(OwnedFd),
    /// The command neither reads nor writes it; this is where it writes to.
    Neither(OwnedFd),
}

/// The commands of one session, all of which end with it. Copies are the same.
#[derive(Clone, Debug)]
pub struct Commands {
    requests: mpsc::UnboundedSender<Request>,
    kill: Arc<watch::Sender<bool>>,
    gone: Arc<Signalled<bool>>,
    stopped: Stopped,
}

/// Commands that were stopped from here before they had ended: as many as a session has.
type Stopped = Arc<Mutex<Vec<CommandLine>>>;

#[derive(Debug)]
struct Request {
    line: CommandLine,
    descriptors: Vec<OwnedFd>,
    orders: mpsc::UnboundedReceiver<Order>,
    started: SyncSender<io::Result<()>>,
    status: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Release,
}

impl Commands {
    /// Starts the thread that waits for commands. `program` is this program's executable, `/proc/self/exe`, which is
    /// started once more as each command's guard.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
    pub fn start(program: PathBuf) -> io::Result<Self> {
        let (requests, mut incoming) = mpsc::unbounded_channel();
        let kill = Arc::new(watch::channel(false).0);
        let gone = Arc::new(Signalled::new(false));
        let (killed, all_gone) = (kill.subscribe(), Arc::clone(&gone));
        let stopped = Stopped::default();
        let note = Arc::clone(&stopped);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("commands".to_owned()).spawn(move || {
            let mut guards = tokio::task::JoinSet::new();
            runtime.block_on(async {
                let mut ends = killed.clone();
                loop {
                    tokio::select! {
                        request = incoming.recv() => match request {
                            Some(request) => {
                                let (program, note) = (program.clone(), Arc::clone(&note));
                                guards.spawn(serve(program, request, killed.clone(), note));
                            }
                            None => break,
                        },
                        () = become_true(&mut ends) => break,
                        Some(_) = guards.join_next() => {}
                    }
                }
                while guards.join_next().await.is_some() {}
            });
            all_gone.set(true);
        })?;
        Ok(Self { requests, kill, gone, stopped })
    }

    /// Starts a command. `notify` is called once when it has ended, on a thread of its own.
    ///
    /// # Errors
    /// When it cannot be started, or [`Commands::kill_all`] was called before.
    pub fn launch(
        &self,
        line: &CommandLine,
        stream: Stream,
        notify: impl FnOnce() + Send + 'static,
    ) -> io::Result<Running> {
        let mut descriptors = Vec::new();
        let mut pipe = None;
        match stream {
            Stream::FromCommand(input) => {
                let (read, write) = io::pipe()?;
                descriptors.extend([input, write.into()]);
                pipe = Some(OwnedFd::from(read));
            }
            Stream::ToCommand(output) => {
                let (read, write) = io::pipe()?;
                let (ours, theirs) = UnixStream::pair()?;
                wires::send(&ours, &[write.as_fd()])?;
                descriptors.extend([read.into(), output, theirs.into()]);
                pipe = Some(OwnedFd::from(write));
            }
            Stream::Neither(output) => {
                let nothing = std::fs::File::open("/dev/null")?;
                descriptors.extend([nothing.into(), output]);
            }
        }
        let (started, start) = sync_channel(1);
        let (orders, received) = mpsc::unbounded_channel();
        let status = Arc::new(Signalled::new(None));
        let ending = Ending { status: Arc::clone(&status), notify: Some(Box::new(notify)) };
        let request = Request { line: line.clone(), descriptors, orders: received, started, status: ending };
        let given_up = || io::Error::other("the session has been given up");
        self.requests.send(request).map_err(|_| given_up())?;
        start.recv_timeout(LONGEST_START).unwrap_or_else(|_| Err(given_up()))?;
        tracing::debug!("{line} started");
        Ok(Running { pipe, orders: Some(orders), status })
    }

    /// Kills every command that still runs, before its input ends; none is started after this.
    pub fn kill_all(&self) {
        self.kill.send_replace(true);
    }

    /// The commands that were stopped from here before they had ended.
    pub fn stopped(&self) -> Vec<CommandLine> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until every command and its guard has ended, after [`Commands::kill_all`]; false if that takes longer.
    pub fn wait_until_gone(&self, patience: Duration) -> bool {
        self.gone.wait(Some(patience), |gone| gone.then_some(())).is_some()
    }
}

/// A command that was started. Dropped, it is killed if it has not ended.
#[derive(Debug)]
pub struct Running {
    pipe: Option<OwnedFd>,
    orders: Option<mpsc::UnboundedSender<Order>>,
    status: Arc<Signalled<Option<Status>>>,
}

impl Running {
    /// This side of the pipe; `None` for a command that has none, and after [`Running::end_of_input`].
    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes this side of the pipe away.
    pub fn take_pipe(&mut self) -> Option<OwnedFd> {
        self.pipe.take()
    }

    /// The stream is complete and verified: the command sees the end of its input.
    pub fn end_of_input(&mut self) {
        self.pipe = None;
        if let Some(orders) = &self.orders {
            // Who does not hear it has ended.
            let _ = orders.send(Order::Release);
        }
    }

    /// How it ended, once it has.
    pub fn try_wait(&self) -> Option<Status> {
        self.status.lock().clone()
    }

    /// Waits until it has ended, for as long as that takes.
    pub fn wait(&self) -> Status {
        let ended = self.status.wait(None, Option::clone);
        ended.unwrap_or_else(|| Status::Unknown("ended in a way that nobody saw".to_owned()))
    }

    /// Waits until it has ended, but not longer than this.
    pub fn wait_for(&self, patience: Duration) -> Option<Status> {
        self.status.wait(Some(patience), Option::clone)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // First the word that it is over, then the pipe.
        self.orders = None;
    }
}

/// One command from the start of its guard to the guard's end.
async fn serve(program: PathBuf, request: Request, mut killed: watch::Receiver<bool>, stopped: Stopped) {
    let Request { line, descriptors, mut orders, started, mut status } = request;
    let (mut guard, control) = match start_guard(program, &line, descriptors) {
        Ok(guard) => guard,
        Err(error) => return started.send(Err(error)).unwrap_or_default(),
    };
    let (mut hear, say) = control.into_split();
    let mut say = Some(say);
    let mut leader = None;
    let overdue = tokio::time::sleep(Duration::MAX);
    tokio::pin!(overdue);
    loop {
        let mut bytes = [0; News::LENGTH];
        let hung_up = say.is_none();
        tokio::select! {
            // A message is never cut: the guard writes eight bytes at once.
            read = hear.read_exact(&mut bytes) => match read.ok().and_then(|_| News::from_bytes(bytes)) {
                Some(News::Started(pid)) => {
                    leader = i32::try_from(pid).ok().and_then(Pid::from_raw).map(Leader::new);
                    let _ = started.send(Ok(()));
                }
                Some(News::NotStarted(number)) => {
                    let number = i32::try_from(number).unwrap_or_default();
                    let _ = started.send(Err(io::Error::from_raw_os_error(number)));
                    break;
                }
                Some(News::Exited(code)) => {
                    status.tell(Status::Exited(u8::try_from(code).unwrap_or(u8::MAX)));
                    break;
                }
                // This program had told the guard to kill the command.
                Some(News::Killed(_)) if hung_up => {
                    stopped.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    status.tell(Status::Stopped);
                    break;
                }
                Some(News::Killed(signal)) => {
                    status.tell(Status::Killed(u8::try_from(signal).unwrap_or(u8::MAX)));
                    break;
                }
                Some(News::Survives(pid)) => {
                    tracing::error!("{line} (process {pid}) cannot be killed by this user; its input stays open until it ends, end it by hand");
                    status.tell(Status::Unknown(format!("could not be killed (process {pid})")));
                    return;
                }
                None => {
                    // The guard was killed. The command goes with it; the rest of its group is killed here.
                    if let Some(leader) = &leader {
                        leader.kill_group();
                    }
                    status.tell(Status::Unknown("was lost: its guard was killed".to_owned()));
                    break;
                }
            },
            order = orders.recv(), if say.is_some() => match (order, &mut say) {
                (Some(Order::Release), Some(say)) => _ = say.write_all(&[RELEASE]).await,
                _ => say = None,
            },
            () = become_true(&mut killed), if say.is_some() => say = None,
            () = &mut overdue, if hung_up => {
                // A guard that somebody has stopped obeys nothing else; the command dies with it.
                let _ = guard.start_kill();
                overdue.set(tokio::time::sleep(Duration::MAX));
            }
        }
        if say.is_none() && !hung_up {
            overdue.set(tokio::time::sleep(GUARD_PATIENCE));
        }
    }
    let _ = guard.wait().await;
}

/// The first process of a command, after which the command's process group is numbered.
struct Leader {
    pid: Pid,
    /// Names the process for ever, unlike its number; `None` if it had ended before it could be opened.
    handle: Option<OwnedFd>,
}

impl Leader {
    fn new(pid: Pid) -> Self {
        Self { pid, handle: pidfd_open(pid, PidfdFlags::empty()).ok() }
    }

    /// Kills what is left of the group. A number stays taken while a process of its group lives; if the group has ended, and
    /// another process has the number, that one leads another group.
    fn kill_group(&self) {
        let ours = self.handle.as_ref().is_some_and(|handle| pidfd_send_signal(handle, Signal::KILL).is_ok());
        if ours || test_kill_process(self.pid) == Err(Errno::SRCH) {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

async fn become_true(value: &mut watch::Receiver<bool>) {
    // Who could set it has gone: then it is over too.
    let _ = value.wait_for(|value| *value).await;
}

/// Starts this program as the guard of a command, and hands it what the command is to have.
fn start_guard(
    program: PathBuf,
    line: &CommandLine,
    descriptors: Vec<OwnedFd>,
) -> io::Result<(tokio::process::Child, tokio::net::UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    wires::send(&ours, &borrowed)?;
    ours.set_nonblocking(true)?;
    let guard = tokio::process::Command::new(program)
        .arg0(guard::GUARD)
        .arg(&line.program)
        .args(&line.arguments)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // Only this program speaks to the service manager.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .spawn()?;
    Ok((guard, tokio::net::UnixStream::from_std(ours)?))
}

/// Where a status is told, once, in any case.
struct Ending {
    status: Arc<Signalled<Option<Status>>>,
    notify: Option<Box<dyn FnOnce() + Send>>,
}

impl Ending {
    fn tell(&mut self, status: Status) {
        if let Some(notify) = self.notify.take() {
            self.status.set(Some(status));
            notify();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.tell(Status::Unknown("could not be started".to_owned()));
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)
    }
}

/// A value that one thread sets and others wait for.
#[derive(Debug)]
struct Signalled<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Signalled<T> {
    const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, value: T) {
        *self.lock() = value;
        self.changed.notify_all();
    }

    fn wait<R>(&self, patience: Option<Duration>, look: impl Fn(&T) -> Option<R>) -> Option<R> {
        let value = self.lock();
        let unset = |value: &mut T| look(value).is_none();
        let value = match patience {
            None => self.changed.wait_while(value, unset).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                self.changed
                    .wait_timeout_while(value, patience, unset)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        look(&value)
    }
}

/// What a guard may take to start its command, on a machine that is nearly standing still.
const LONGEST_START: Duration = Duration::from_secs(30);
/// Longest time that a guard gets to kill its command before it is killed itself. It needs milliseconds, or 700 of them
/// to say that a command survives; and a program that got a signal owes its end within two seconds.
const GUARD_PATIENCE: Duration = Duration::from_millis(1200);
