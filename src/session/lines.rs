//! A bound on the lines that others can bring into a log.

/// Lines of one kind that the operator has been shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    shown: u32,
    most: u32,
}

impl Lines {
    /// Shows `most` lines, then none.
    pub(super) const fn at_most(most: u32) -> Self {
        Self { shown: 0, most }
    }

    /// Whether the operator is shown another line. After the last one he is told once that more are left out.
    pub(super) fn show(&mut self) -> bool {
        if self.shown > self.most {
            return false;
        }
        self.shown += 1;
        if self.shown > self.most {
            tracing::warn!(shown = self.most, "further lines of this kind are left out");
        }
        self.shown <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        let mut lines = Lines::at_most(3);
        assert_eq!((0..100).filter(|_| lines.show()).count(), 3);
        assert_eq!(lines.shown, 4);
    }
}
