//! The forms of a log line. The message is a sentence that stands alone, and the fields are the same facts for programs.

use std::fmt::{self, Debug, Write as _};

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::error::{is_harmless, visible};

/// How a log line is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) kind: Kind,
    /// The level has a colour.
    pub(super) colours: bool,
    /// The module that speaks is named; JSON names it in any case.
    pub(super) modules: bool,
}

/// For whom a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// People at a terminal: `18:04:55 warning: db2 left`, in local time, and the fields where they are asked for.
    Terminal { fields: bool },
    /// Files and pipes: `2026-03-01T02:03:04.567890Z  WARN db2 left name=db2`.
    File,
    /// Programs: one JSON object.
    Json,
}

impl Form {
    fn line(self, at: Timestamp, event: &Event<'_>) -> Result<String, fmt::Error> {
        let facts = Facts::of(event);
        let (level, module) = (event.metadata().level(), event.metadata().target());
        let mut line = String::new();
        match self.kind {
            Kind::Json => {
                let entry = Entry { at, level: level.as_str(), module, facts: &facts };
                let text = serde_json::to_string(&entry).map_err(|_| fmt::Error)?;
                return Ok(escaped(&text));
            }
            Kind::File => write!(line, "{at:.6} {} ", self.coloured(*level, &format!("{level:>5}")))?,
            Kind::Terminal { .. } => {
                let local = at.to_zoned(TimeZone::system());
                write!(line, "{} ", strtime::format("%H:%M:%S", &local).unwrap_or_default())?;
                match *level {
                    Level::ERROR => write!(line, "{}: ", self.coloured(*level, "error"))?,
                    Level::WARN => write!(line, "{}: ", self.coloured(*level, "warning"))?,
                    _ => {}
                }
            }
        }
        if self.modules {
            write!(line, "{module}: ")?;
        }
        line.push_str(&visible(&facts.message));
        if self.kind != (Kind::Terminal { fields: false }) {
            for (name, value) in &facts.fields {
                write!(line, " {name}={}", shown(value))?;
            }
        }
        Ok(line)
    }

    fn coloured(self, level: Level, word: &str) -> String {
        match level {
            Level::ERROR if self.colours => format!("{RED}{word}{PLAIN}"),
            Level::WARN if self.colours => format!("{YELLOW}{word}{PLAIN}"),
            _ => word.to_owned(),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writeln!(writer, "{}", self.line(Timestamp::now(), event)?)
    }
}

/// The message and the fields of an event.
#[derive(Debug, Default)]
struct Facts {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Facts {
    fn of(event: &Event<'_>) -> Self {
        let mut facts = Self::default();
        event.record(&mut facts);
        facts
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name(), value.into()));
    }
}

impl Visit for Facts {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.add(field, text),
        }
    }
}

/// A line of JSON.
struct Entry<'a> {
    at: Timestamp,
    level: &'a str,
    module: &'a str,
    facts: &'a Facts,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &format!("{:.6}", self.at))?;
        map.serialize_entry("level", self.level)?;
        map.serialize_entry("message", &self.facts.message)?;
        for (name, value) in &self.facts.fields {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("target", self.module)?;
        map.end()
    }
}

/// A value as it stands behind `name=`: as it is, or in quotes where its end could not be told otherwise.
fn shown(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let needs_quotes =
        text.is_empty() || text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '='));
    if !needs_quotes {
        return visible(text);
    }
    format!("\"{}\"", visible(text).replace('"', "\\\""))
}

/// JSON in which the characters that [`visible`] escapes are escaped as JSON does it. They occur in strings only.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            // Writing to a String cannot fail, and all of these characters have four digits at most.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
    out
}

const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `say` logs in this form, without their time.
    fn written(kind: Kind, colours: bool, modules: bool, say: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .event_format(Form { kind, colours, modules })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(log.finish(), say);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        match kind {
            Kind::Json => text,
            _ => text.split_once(' ').unwrap().1.to_owned(),
        }
    }

    fn db2_left() {
        tracing::warn!(name = "db2", code = 9, share = 0.5, reason = %"no space left", key = None::<u64>, "db2 left");
    }

    const SHORT: Kind = Kind::Terminal { fields: false };
    const LONG: Kind = Kind::Terminal { fields: true };

    #[test]
    fn terminal_shows_message_and_level_and_fields_only_when_asked() {
        assert_eq!(written(SHORT, false, false, db2_left), "warning: db2 left\n");
        assert_eq!(
            written(LONG, false, false, db2_left),
            "warning: db2 left name=db2 code=9 share=0.5 reason=\"no space left\"\n"
        );
        let joined = || tracing::info!(name = "db2", "db2 joined (1 of 3)");
        assert_eq!(written(SHORT, true, false, joined), "db2 joined (1 of 3)\n");
        assert_eq!(written(SHORT, true, true, joined), "mcast::cli::log_form::tests: db2 joined (1 of 3)\n");
    }

    #[test]
    fn file_has_level_message_and_fields() {
        assert_eq!(
            written(Kind::File, false, false, db2_left),
            " WARN db2 left name=db2 code=9 share=0.5 reason=\"no space left\"\n"
        );
    }

    #[test]
    fn colours_are_those_of_warnings_and_errors() {
        assert_eq!(written(SHORT, true, false, db2_left), "\u{1b}[33mwarning\u{1b}[0m: db2 left\n");
        let fails = || tracing::error!("no space");
        assert_eq!(written(SHORT, true, false, fails), "\u{1b}[31merror\u{1b}[0m: no space\n");
        assert_eq!(written(Kind::File, true, false, fails), "\u{1b}[31mERROR\u{1b}[0m no space\n");
    }

    #[test]
    fn numbers_are_numbers_in_json() {
        let line: Value = serde_json::from_str(&written(Kind::Json, true, false, db2_left)).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "db2 left");
        assert_eq!((&line["code"], &line["share"]), (&9.into(), &0.5.into()));
        assert_eq!((&line["name"], &line["reason"]), (&"db2".into(), &"no space left".into()));
        assert_eq!(line["target"], "mcast::cli::log_form::tests");
        assert!(line["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{line}");
        assert!(line.get("key").is_none());
    }

    #[test]
    fn values_are_quoted_only_where_their_end_could_not_be_told() {
        for (value, text) in [
            ("db3", "db3"),
            ("10.77.0.1:7767", "10.77.0.1:7767"),
            ("", "\"\""),
            ("no space", "\"no space\""),
            ("a=b", "\"a=b\""),
            ("\"x\"", "\"\\\"x\\\"\""),
            ("a\nb", "\"a\\nb\""),
        ] {
            assert_eq!(shown(&value.into()), text);
        }
    }

    #[test]
    fn no_form_lets_foreign_text_speak_to_the_terminal() {
        let hostile = || {
            let error = io::Error::other("no entry \"\u{1b}[2J\u{202e}\u{9b}\"");
            tracing::warn!(%error, name = "a\u{1b}b", debug = ?"c\u{1b}d\u{9b}", "cannot \u{61c} prune \u{7}");
        };
        for kind in [SHORT, LONG, Kind::File, Kind::Json] {
            let line = written(kind, false, false, hostile);
            assert!(line.trim_end_matches('\n').chars().all(is_harmless), "{kind:?}: {line:?}");
            if kind == Kind::Json {
                let line: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(line["error"], "no entry \"\u{1b}[2J\u{202e}\u{9b}\"");
            }
        }
        let line = written(LONG, false, false, hostile);
        for text in ["cannot \\u{61c} prune", "no entry \\\"\\u{1b}[2J\\u{202e}", "name=a\\u{1b}b"] {
            assert!(line.contains(text), "{text} is not in {line:?}");
        }
    }
}
