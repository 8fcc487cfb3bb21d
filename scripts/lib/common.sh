# shellcheck shell=bash
# Sourced by the scripts: words to the user, bounded waits, packages, and numbers out of a report.

# The tools of an administrator, and a toolchain that rustup put into a home directory, may be missing in PATH.
PATH=$PATH:/usr/sbin:/sbin:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
export PATH

say() { printf '%s\n' "$@"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# has COMMAND…: all of them can be run.
has() {
    local command
    for command; do command -v "$command" >/dev/null 2>&1 || return 1; done
}

# forget_surroundings: variables that a user or a service manager has set for mcast do not reach the programs of a script.
# MCAST_BIN is for the scripts alone. The script itself must name a key or --no-key, since one may be in /etc.
forget_surroundings() {
    local name
    for name in "${!MCAST_@}" CREDENTIALS_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID; do
        [[ $name == MCAST_BIN ]] || unset "$name"
    done
}

# programs --bins [ARGUMENT OF cargo build…]: builds them (release), and prints the directory in which cargo has put them,
# which CARGO_TARGET_DIR, CARGO_BUILD_TARGET and cargo's configuration decide. With MCAST_BIN: that directory, as it is.
programs() {
    local messages directory=${MCAST_BIN-} program
    if [[ -z $directory ]]; then
        has cargo || die "no cargo found: install Rust from https://rustup.rs, or set MCAST_BIN to the directory of built programs"
        messages=$(cd "${root:?}" && cargo build --release --locked --message-format json-render-diagnostics "$@") ||
            die "the programs do not build; see above"
        directory=$(sed -n 's|.*"executable":"\([^"]*\)/mcast-send".*|\1|p' <<<"$messages" | tail -n 1)
    fi
    for program in mcast mcast-send mcast-recv; do
        [[ -x $directory/$program ]] || die "there is no $program in \"$directory\" ${MCAST_BIN:+(MCAST_BIN)}"
    done
    (cd "$directory" && pwd)
}

# wait_until SECONDS COMMAND…: polls a condition; returns 1 when it does not hold in time.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# end_process PID [SIGNAL]: ends one process that this script started, and waits for it, at most 10 s.
end_process() {
    kill "-${2:-TERM}" "$1" 2>/dev/null || return 0
    wait_until 10 process_is_gone "$1" || kill -KILL "$1" 2>/dev/null
    wait "$1" 2>/dev/null || true
}
process_is_gone() { ! kill -0 "$1" 2>/dev/null || grep -qs '^State:.Z' "/proc/$1/status"; }

# install_packages PACKAGE…: Debian packages, as root only; returns 1 when that is not possible.
install_packages() {
    ((EUID == 0)) && has apt-get || return 1
    say "installing Debian packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    local options=(-q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120)
    # The list of packages may be old or absent; it is fetched only when it has to be.
    apt-get "${options[@]}" install --no-install-recommends "$@" </dev/null >/dev/null 2>&1 && return
    apt-get "${options[@]}" update </dev/null >/dev/null &&
        apt-get "${options[@]}" install --no-install-recommends "$@" </dev/null >/dev/null
}

# report_number FILE KEY: the first number of that name in a report (the totals stand before the receivers').
report_number() {
    grep -o "\"$2\": *[0-9.eE+-]*" "$1" | head -n 1 | sed 's/.*: *//'
}

# report_line FILE: the main numbers of a report in one line.
report_line() {
    awk -v outcome="$(grep -o '"outcome": *"[a-z]*"' "$1" | head -n 1 | sed 's/.*: *"\(.*\)"/\1/')" \
        -v exit_code="$(report_number "$1" exit_code)" -v bytes="$(report_number "$1" bytes)" \
        -v elapsed="$(report_number "$1" elapsed_s)" -v goodput="$(report_number "$1" goodput_bps)" \
        -v data="$(report_number "$1" source_symbols)" -v repair="$(report_number "$1" repair_symbols)" 'BEGIN {
        share = data > 0 ? 100 * repair / data : 0
        printf "%s (exit %d), %.1f MB in %.1f s, goodput %.0f Mbit/s, repair %.2f %%\n",
            outcome, exit_code, bytes / 1e6, elapsed, goodput / 1e6, share
    }'
}
