//! The text that `--version` prints after the program's name.

use std::sync::LazyLock;

use crate::wire;

/// Version, commit and protocol version: `0.1.0 (commit 1a2b3c4d, protocol 1)`. A debug build, and one that is made
/// outside of a repository, has no commit.
pub(super) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // See build.rs.
        let commit = match env!("MCAST_COMMIT") {
            "" => String::new(),
            commit => format!("commit {commit}, "),
        };
        format!("{} ({commit}protocol {})", env!("CARGO_PKG_VERSION"), wire::VERSION)
    });
    &TEXT
}
