//! Names of drafts: `.mcast-BOOT-PROCESS-NUMBER.part`.
//!
//! BOOT is the beginning of the kernel's boot id. Processes under one kernel see each other's locks, so among drafts with
//! the same BOOT a lock tells whether a process still works on one. Of other drafts (another host on a shared file system,
//! or this host before it was restarted) a lock may not tell that.

use std::fs;
use std::sync::OnceLock;

/// Under which kernel a draft was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The kernel that this process runs under.
    ThisKernel,
    /// Another one, or one that the name does not tell, as those that earlier versions gave.
    Elsewhere,
}

/// The origin of a draft of this name. `None` if it is no draft's name.
pub(super) fn origin(name: &str) -> Option<Origin> {
    let number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_boot =
        |text: &&str| text.len() == BOOT_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let middle = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    match middle.split('-').collect::<Vec<_>>().as_slice() {
        [boot, process, attempt] if is_boot(boot) && number(process) && number(attempt) => {
            Some(if Some(*boot) == this_boot() { Origin::ThisKernel } else { Origin::Elsewhere })
        }
        [process, attempt] if number(process) && number(attempt) => Some(Origin::Elsewhere),
        _ => None,
    }
}

/// Names for a draft of this process. An entry that is on its way out has one too.
pub(super) fn draft_names() -> impl Iterator<Item = String> {
    let boot = this_boot().unwrap_or(UNKNOWN_BOOT);
    (0..MOST_ATTEMPTS).map(move |attempt| format!("{PREFIX}{boot}-{}-{attempt}{SUFFIX}", std::process::id()))
}

/// The beginning of the kernel's boot id; `None` where it cannot be read.
fn this_boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let digits = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.replace('-', "");
        let boot = digits.get(..BOOT_DIGITS)?;
        boot.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| boot.to_owned())
    };
    BOOT.get_or_init(read).as_deref()
}

/// Hidden from `ls` and from every name that an entry may have.
const PREFIX: &str = ".mcast-";
const SUFFIX: &str = ".part";
/// Hexadecimal digits of the boot id in a name: 48 bits tell the hosts of one file system apart.
const BOOT_DIGITS: usize = 12;
/// In place of a boot id that cannot be read. No draft of this name counts as one of this kernel.
const UNKNOWN_BOOT: &str = "000000000000";
/// Drafts with the same process id: in containers all are number 1.
const MOST_ATTEMPTS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_draft_tells_the_kernel_that_it_was_made_under() {
        for name in draft_names() {
            assert_eq!(origin(&name), Some(Origin::ThisKernel), "{name}");
        }
        for other in [".mcast-123456789abc-4711-0.part", ".mcast-000000000000-1-0.part", ".mcast-4711-0.part"]
        {
            assert_eq!(origin(other), Some(Origin::Elsewhere), "{other}");
        }
        for none in [
            ".mcast-x.part",
            ".mcast-1-0",
            "mcast-1-0.part",
            ".mcast--0.part",
            ".mcast-123-1-0.part",
            ".mcast-123456789abc-1-0-0.part",
            "shop-20260301T010304Z",
        ] {
            assert_eq!(origin(none), None, "{none}");
        }
    }
}
