//! Counts what a run would write into a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// Runs `work`, and counts its log lines that users see by default.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let lines = Arc::new(AtomicUsize::new(0));
    let done = tracing::subscriber::with_default(Counter(Arc::clone(&lines)), work);
    (done, lines.load(Ordering::Relaxed))
}

struct Counter(Arc<AtomicUsize>);

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
