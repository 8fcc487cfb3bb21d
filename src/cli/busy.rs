//! Steps that may take long, on a thread of their own, so that the loop which feeds the service manager's watchdog and
//! heeds signals goes on.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::error::Failure;
use super::launch;

/// Does `work`, and calls `go_on` several times a second meanwhile. Once that returns false, the work has a second left;
/// then it is no longer waited for, and the answer is `None`, as it is when the work panics.
///
/// # Errors
/// When the system has no thread left.
pub(super) fn while_busy<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<T>, Failure> {
    let (done, answer) = channel();
    let work = move || _ = done.send(work());
    thread::Builder::new().name("busy".to_owned()).spawn(work).map_err(launch::no_resource)?;
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(answer) => return Ok(Some(answer)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if go_on() => {}
            Err(RecvTimeoutError::Timeout) => return Ok(answer.recv_timeout(GRACE).ok()),
        }
    }
}

/// Between two calls: a watchdog is fed at half its time, which is a second at least.
const LOOK: Duration = Duration::from_millis(100);
/// For work that is to end early. A signal must end a program within two seconds.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn loop_goes_on_while_work_lasts_and_gets_its_answer() {
        let (end, ended) = sync_channel(1);
        let mut calls = 0;
        let work = move || ended.recv_timeout(Duration::from_secs(60)).map(|()| 7);
        let answer = while_busy(work, &mut || {
            calls += 1;
            if calls == 3 {
                end.send(()).unwrap();
            }
            true
        });
        assert_eq!(answer, Ok(Some(Ok(7))));
        assert!(calls >= 3, "{calls}");
    }

    #[test]
    fn work_that_is_given_up_is_waited_for_no_longer_than_its_grace() {
        let (end, ended) = sync_channel::<()>(1);
        let answer = while_busy(move || ended.recv(), &mut || false);
        assert_eq!(answer, Ok(None));
        drop(end);
    }
}
