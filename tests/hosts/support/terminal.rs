//! A terminal in the hands of the test, and what somebody who looks at it sees.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal of a size that the test can change.
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

    pub(crate) fn of(columns: u16, rows: u16) -> Self {
        let controller = openpt(Self::FLAGS).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let terminal = Self(controller);
        terminal.resize(columns, rows);
        terminal
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.0, size).unwrap();
    }

    /// The end that a program gets.
    pub(crate) fn program_end(&self) -> File {
        ioctl_tiocgptpeer(&self.0, Self::FLAGS).unwrap().into()
    }

    /// The end at which the test reads what the program writes.
    pub(crate) fn test_end(&self) -> File {
        self.0.try_clone().unwrap().into()
    }
}

/// The rows of a screen of so many columns after this was written to it, without empty ones at the end. Panics at a
/// command that it does not know.
pub(crate) fn screen(written: &str, columns: usize) -> Vec<String> {
    let mut rows = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut text = written.chars();
    while let Some(c) = text.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(text.next(), Some('['), "a command in {written:?}");
                let mut number = String::new();
                let command = loop {
                    match text.next() {
                        Some(digit) if digit.is_ascii_digit() || "?;".contains(digit) => number.push(digit),
                        Some(command) => break command,
                        // The rest has not been read yet.
                        None => return shown(&rows),
                    }
                };
                let count = number.parse().unwrap_or(1);
                match command {
                    'A' => row = row.saturating_sub(count),
                    'B' => row += count,
                    'K' => rows[row].clear(),
                    'm' => {}
                    _ => panic!("unknown command {number}{command} in {written:?}"),
                }
            }
            c => {
                assert!(!c.is_control(), "{c:?} in {written:?}");
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                rows.resize_with(rows.len().max(row + 1), Vec::new);
                let cells: &mut Vec<char> = &mut rows[row];
                cells.resize(cells.len().max(column + 1), ' ');
                cells[column] = c;
                column += 1;
            }
        }
        rows.resize_with(rows.len().max(row + 1), Vec::new);
    }
    shown(&rows)
}

fn shown(rows: &[Vec<char>]) -> Vec<String> {
    let mut rows: Vec<_> =
        rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect();
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows
}
