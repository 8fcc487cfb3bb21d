//! Panics, which are bugs of ours: one line for people, and a session that ends with exit code 1 and tells its peers.
//!
//! A panic unwinds and ends its thread, not the process (`panic = "abort"` would keep the protocol thread from telling the
//! peers, and the guards of commands from an orderly end). The protocol thread looks here several times a second.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;

use super::console::{self, Console};
use crate::exit::Exit;

/// Text about the first panic for peers and reports.
static FIRST: OnceLock<String> = OnceLock::new();
/// Queue in which the line waits for stderr to take it.
static CONSOLE: OnceLock<Console> = OnceLock::new();

/// From here on a panic is one line of the log.
pub(super) fn log_in_one_line(console: &Console) {
    let _ = CONSOLE.set(console.clone());
    set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let _ = FIRST.set(format!("internal error in the {name} thread"));
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = text(panic.payload());
        if name == console::THREAD {
            console::write(format!("internal error in the {name} thread: {text} ({place})\n").as_bytes());
        } else {
            tracing::error!("internal error in the {name} thread: {text} ({place}); please report this");
        }
    }));
}

/// Text about a panic anywhere in this process, if there was one.
pub(super) fn first() -> Option<&'static str> {
    FIRST.get().map(String::as_str)
}

/// The exit code of `program`, or that of an internal error if it panics; then, too, no unfinished file stays.
pub(super) fn caught(program: impl FnOnce() -> ExitCode) -> ExitCode {
    catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|_| {
        super::remove_unfinished_outputs();
        if let Some(console) = CONSOLE.get() {
            console.finish();
        }
        Exit::Internal.code().into()
    })
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_that_panics_ends_with_the_exit_code_of_an_internal_error() {
        let code = |exit: Exit| format!("{:?}", ExitCode::from(exit.code()));
        assert_eq!(format!("{:?}", caught(|| ExitCode::from(7))), format!("{:?}", ExitCode::from(7)));
        assert_eq!(format!("{:?}", caught(|| panic!("this test has it so"))), code(Exit::Internal));
    }

    #[test]
    fn message_of_a_panic_is_found_whether_it_was_formatted_or_not() {
        let caught = |panics: fn()| catch_unwind(panics).unwrap_err();
        assert_eq!(text(&*caught(|| panic!("plain"))), "plain");
        assert_eq!(
            text(&*caught(|| panic!("number {}", std::process::id()))).split(' ').next(),
            Some("number")
        );
    }
}
