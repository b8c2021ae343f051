//! Logs on standard error: one line an event, for people or as JSON.

use super::keys::hex;
use super::style::{Style, Tone};
use super::table::printable;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use xxnet_core::InstanceId;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is said: `-v` and `-q`, each as often as given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loudness(i16);

impl Loudness {
    /// From the counts of `-v` and `-q`.
    pub(crate) fn new(verbose: u8, quiet: u8) -> Self {
        Self(i16::from(verbose) - i16::from(quiet))
    }

    /// Whether hints and progress are unwanted.
    pub(crate) fn is_quiet(self) -> bool {
        self.0 < 0
    }

    /// `-v` or more.
    pub(crate) fn is_verbose(self) -> bool {
        self.0 > 0
    }

    /// The level that `normal` becomes.
    pub(crate) fn level(self, normal: LevelFilter) -> LevelFilter {
        const LADDER: [LevelFilter; 6] = [
            LevelFilter::OFF,
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
            LevelFilter::TRACE,
        ];
        let at = LADDER.iter().position(|level| *level == normal).unwrap_or(3);
        let at = i32::try_from(at).unwrap_or(3) + i32::from(self.0);
        LADDER[usize::try_from(at.clamp(0, 5)).unwrap_or(3)]
    }
}

/// Starts logging to standard error, once a process.
pub(crate) fn start(node: &str, format: LogFormat, level: LevelFilter) {
    let lines = Lines { node: node.to_owned(), format, style: Style::stderr() };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(level));
    // Only a second call could fail, and the first one's logs then go on.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Says at the beginning of a daemon's log who writes it.
pub(crate) fn introduce(what: &'static str, instance: InstanceId) {
    tracing::info!(
        event = "starting",
        role = what,
        instance = %instance,
        id = hex(&instance.0),
        process = std::process::id(),
        version = env!("CARGO_PKG_VERSION")
    );
}

/// The field by which [`super::notices`] hands over its own fields: a JSON object.
const FIELDS: &str = "fields";

struct Lines {
    node: String,
    format: LogFormat,
    style: Style,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut found = Found::default();
        event.record(&mut found);
        let level = *event.metadata().level();
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        let object = object(level, &time.to_string(), &self.node, found);
        let text = match self.format {
            LogFormat::Json => Some(Value::Object(object).to_string()),
            LogFormat::Text => as_text(&object, self.style, LevelFilter::TRACE),
        };
        // One write a line, so that the lines of several processes do not mix. A reader that is gone is no reason to stop.
        let _ = std::io::stderr().lock().write_all((text.unwrap_or_default() + "\n").as_bytes());
    }
}

/// The names that every line has; the rest are its own.
const COMMON: [&str; 5] = ["time", "level", "node", "event", "message"];

fn object(level: Level, time: &str, node: &str, found: Found) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("time".into(), time.into());
    object.insert("level".into(), level.as_str().to_ascii_lowercase().into());
    object.insert("node".into(), node.into());
    if let Some(event) = found.event {
        object.insert("event".into(), event.into());
    }
    if let Some(message) = found.message {
        object.insert("message".into(), message.into());
    }
    object.extend(found.fields);
    object
}

/// A line for people; `None` if it matters less than `level`.
pub(crate) fn as_text(object: &Map<String, Value>, style: Style, level: LevelFilter) -> Option<String> {
    let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or("");
    let of: Level = field("level").parse().unwrap_or(Level::INFO);
    if of > level {
        return None;
    }
    let tone = match of {
        Level::ERROR => Tone::Bad,
        Level::WARN => Tone::Warn,
        Level::INFO => Tone::Good,
        _ => Tone::Dim,
    };
    // Microseconds are for programs.
    let time = field("time").get(..23).map_or(field("time").to_owned(), |short| format!("{short}Z"));
    let mut line = format!(
        "{} {} {}",
        style.paint(Tone::Dim, time),
        style.paint(tone, format_args!("{:<5}", of.as_str())),
        field("node")
    );
    if !field("event").is_empty() {
        let _ = write!(line, " {}", style.paint(Tone::Bold, field("event")));
    }
    if !field("message").is_empty() {
        let _ = write!(line, " {}", printable(field("message")));
    }
    for (name, value) in
        object.iter().filter(|(name, value)| !COMMON.contains(&name.as_str()) && !value.is_null())
    {
        let _ = write!(line, " {}{}", style.paint(Tone::Dim, format_args!("{name}=")), Plain(value));
    }
    Some(line)
}

/// A value as a person reads it; quoted only if it has spaces.
struct Plain<'a>(&'a Value);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text)
                if !text.is_empty()
                    && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') =>
            {
                f.write_str(text)
            }
            other => write!(f, "{other}"),
        }
    }
}

/// What one event says.
#[derive(Default)]
struct Found {
    event: Option<String>,
    message: Option<String>,
    fields: Map<String, Value>,
}

impl Found {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("event", Value::String(text)) => self.event = Some(text),
            ("message", Value::String(text)) => self.message = Some(text),
            (FIELDS, Value::String(text)) => match serde_json::from_str(&text) {
                Ok(Value::Object(fields)) => self.fields.extend(fields),
                _ => self.message = Some(text),
            },
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Found {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loudness_moves_the_level_and_stays_on_the_ladder() {
        let at = |verbose, quiet| Loudness::new(verbose, quiet).level(LevelFilter::INFO);
        assert_eq!(at(0, 0), LevelFilter::INFO);
        assert_eq!(at(1, 0), LevelFilter::DEBUG);
        assert_eq!(at(9, 0), LevelFilter::TRACE);
        assert_eq!(at(0, 1), LevelFilter::WARN);
        assert_eq!(at(0, 9), LevelFilter::OFF);
        assert_eq!(at(2, 2), LevelFilter::INFO);
        assert_eq!(at(255, 0), LevelFilter::TRACE);
    }

    #[test]
    fn a_line_is_readable_in_both_formats() {
        let found = || {
            let mut found = Found { event: Some("task-ended".into()), ..Found::default() };
            found.fields.insert("task".into(), "1a-7".into());
            found.fields.insert("why".into(), "no such file".into());
            found.fields.insert("bytes".into(), 3.into());
            found
        };
        let line = object(Level::WARN, "now", "n1", found());
        assert_eq!(
            Value::Object(line.clone()).to_string(),
            r#"{"bytes":3,"event":"task-ended","level":"warn","node":"n1","task":"1a-7","time":"now","why":"no such file"}"#
        );
        assert_eq!(
            as_text(&line, Style::plain(), LevelFilter::WARN).as_deref(),
            Some("now WARN  n1 task-ended bytes=3 task=1a-7 why=\"no such file\"")
        );
        assert_eq!(as_text(&line, Style::plain(), LevelFilter::ERROR), None);
    }
}
