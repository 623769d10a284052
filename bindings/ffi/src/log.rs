//! The library's log, passed to the application.
//!
//! Records go through a bounded queue to a separate thread, the only one that calls the application: a sink that is slow, or that
//! needs a lock of its language, delays nothing else. Records that find the queue full are counted, and the count is reported
//! later.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// The level of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum LogLevel {
    /// Something has failed.
    Error,
    /// Something is wrong, or costs more than it should.
    Warn,
    /// Normal operation.
    Info,
    /// For developers of applications.
    Debug,
    /// For developers of this library.
    Trace,
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LogRecord {
    /// The time, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The level.
    pub level: LogLevel,
    /// The part of the library that logs the record, such as `im_sdk::client`.
    pub target: String,
    /// The message.
    pub message: String,
    /// The fields of the message.
    pub fields: HashMap<String, String>,
}

/// Receives the records of the library's log.
#[uniffi::export(rust, foreign)]
pub trait LogSink: Send + Sync {
    /// Takes a record. It is called on one thread, for one record at a time, and may block. Exceptions are ignored.
    fn log(&self, record: LogRecord);
}

/// Sets the sink of the library's log, for records of this level and above. Without a sink, which is the initial state, there is
/// no log. The log is shared by all clients of the process. Must not be called from a sink. Returns `false` if another library in
/// this process has already taken the log of Rust code.
#[uniffi::export]
pub fn set_log_sink(level: LogLevel, sink: Option<Arc<dyn LogSink>>) -> bool {
    let log = log();
    let filter = if sink.is_some() { LevelFilter::from(level) } else { LevelFilter::OFF };
    *log.sink.lock().unwrap_or_else(PoisonError::into_inner) = sink;
    log.level.store(number(filter), Ordering::Relaxed);
    static SUBSCRIBED: OnceLock<bool> = OnceLock::new();
    let subscribed = *SUBSCRIBED.get_or_init(|| tracing::subscriber::set_global_default(Forward).is_ok());
    tracing::callsite::rebuild_interest_cache();
    subscribed
}

/// Removes the sink, so that the application is not called any more.
pub(crate) fn clear() {
    if let Some(log) = LOG.get() {
        log.level.store(number(LevelFilter::OFF), Ordering::Relaxed);
        *log.sink.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The log of the process.
struct Log {
    level: AtomicU8,
    records: SyncSender<LogRecord>,
    lost: AtomicU64,
    /// Locked during calls of the sink, so that it is not called after it was replaced.
    sink: Mutex<Option<Arc<dyn LogSink>>>,
}

static LOG: OnceLock<Log> = OnceLock::new();

fn log() -> &'static Log {
    LOG.get_or_init(|| {
        let (records, queue) = mpsc::sync_channel(MAX_QUEUED_RECORDS);
        let deliver = move || queue.into_iter().for_each(deliver);
        // Without a thread, nothing is delivered, and the queue counts the lost records.
        drop(thread::Builder::new().name("im-sdk-log".to_owned()).spawn(deliver));
        let level = AtomicU8::new(number(LevelFilter::OFF));
        Log { level, records, lost: AtomicU64::new(0), sink: Mutex::new(None) }
    })
}

fn deliver(record: LogRecord) {
    let Some(log) = LOG.get() else { return };
    let sink = log.sink.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(sink) = &*sink else { return };
    let lost = log.lost.swap(0, Ordering::Relaxed);
    if lost > 0 {
        let fields = HashMap::from([("lost".to_owned(), lost.to_string())]);
        let message = "the log sink is too slow: records were lost".to_owned();
        let target = "im_ffi::log".to_owned();
        sink.log(LogRecord { unix_ms: record.unix_ms, level: LogLevel::Warn, target, message, fields });
    }
    sink.log(record);
}

/// Forwards events to the queue, and ignores spans.
struct Forward;

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && LOG.get().is_some_and(|log| is_wanted(log, *metadata.level()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let level = LOG.get().map_or(0, |log| log.level.load(Ordering::Relaxed));
        let levels =
            [LevelFilter::OFF, LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG];
        Some(levels.get(usize::from(level)).copied().unwrap_or(LevelFilter::TRACE))
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(log) = LOG.get() else { return };
        let mut record = LogRecord {
            unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            level: (*event.metadata().level()).into(),
            target: event.metadata().target().to_owned(),
            message: String::new(),
            fields: HashMap::new(),
        };
        event.record(&mut Fields(&mut record));
        if let Err(TrySendError::Full(_)) = log.records.try_send(record) {
            log.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn is_wanted(log: &Log, level: Level) -> bool {
    number(LevelFilter::from_level(level)) <= log.level.load(Ordering::Relaxed)
}

/// Returns 0 for `OFF`, and higher numbers for more verbose levels.
fn number(level: LevelFilter) -> u8 {
    match level.into_level() {
        None => 0,
        Some(Level::ERROR) => 1,
        Some(Level::WARN) => 2,
        Some(Level::INFO) => 3,
        Some(Level::DEBUG) => 4,
        Some(Level::TRACE) => 5,
    }
}

/// Writes an event's fields into a record.
struct Fields<'a>(&'a mut LogRecord);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0.message);
        } else {
            self.0.fields.insert(field.name().to_owned(), value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }
}

/// The maximum number of records in the queue.
const MAX_QUEUED_RECORDS: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    struct Collect(Mutex<Sender<LogRecord>>);

    impl LogSink for Collect {
        fn log(&self, record: LogRecord) {
            _ = self.0.lock().unwrap().send(record);
        }
    }

    #[test]
    fn records_of_the_level_and_above_come_with_their_fields() {
        let (sender, records) = mpsc::channel();
        assert!(set_log_sink(LogLevel::Warn, Some(Arc::new(Collect(Mutex::new(sender))))));
        tracing::info!("not this one");
        tracing::warn!(number = 7, who = "bob", "look");
        let mine = |record: &LogRecord| record.target == "im_ffi::log::tests";
        let record = records.iter().find(mine).unwrap();
        assert_eq!((record.level, record.message.as_str()), (LogLevel::Warn, "look"));
        let fields =
            [("number", "7"), ("who", "bob")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(record.fields, HashMap::from(fields));
        assert!(set_log_sink(LogLevel::Warn, None));
        tracing::error!("nor this one");
        // The loop ends because the sender was dropped with the sink.
        assert_eq!(records.iter().find(mine), None);
    }
}
