//! The part of an application on a device that outlives its process: what it has seen of each log.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::Failure;

/// The application's view of each log. Checks that entries arrive in order, without gaps or repetitions unless there was a
/// reset.
#[derive(Debug, Default)]
pub(super) struct Application {
    logs: HashMap<String, Log>,
}

#[derive(Debug, Default)]
struct Log {
    /// The last entry that arrived.
    seen: u64,
    /// The last entry that the application has, including those from before the process was killed.
    has: u64,
    /// Set if the process was killed: its last acknowledgements may be lost.
    may_repeat: bool,
    /// Texts that no step has expected yet.
    texts: VecDeque<String>,
    /// The last message with each text.
    messages: HashMap<String, Value>,
}

impl Application {
    /// Takes an event. Returns the position to acknowledge, if there is one.
    pub(super) fn apply(&mut self, event: &Value) -> Result<Option<Value>, Failure> {
        match event["type"].as_str() {
            Some("message") => self.take(&event["message"]),
            Some("reset") => {
                let seq = number(&event["seq"])?;
                let log = self.log(&event["channel"])?;
                (log.seen, log.has) = (seq, seq);
                Ok(Some(event.clone()))
            }
            _ => Ok(None),
        }
    }

    fn take(&mut self, message: &Value) -> Result<Option<Value>, Failure> {
        let position = &message["position"];
        if position.is_null() {
            return Ok(None);
        }
        let seq = number(&position["seq"])?;
        let log = self.log(&position["channel"])?;
        let is_repeated = log.may_repeat && seq <= log.has;
        if seq != log.seen + 1 && !is_repeated {
            let what = if seq > log.seen { "a gap" } else { "a repetition" };
            return Err(Failure::new(format!("{what}: entry {seq} came after {}: {message}", log.seen)));
        }
        (log.seen, log.may_repeat) = (seq, false);
        let is_new = seq > log.has;
        log.has = log.has.max(seq);
        if let Some(text) = message["text"].as_str() {
            log.texts.extend(is_new.then(|| text.to_owned()));
            log.messages.insert(text.to_owned(), message.clone());
        }
        Ok(Some(position.clone()))
    }

    fn log(&mut self, channel: &Value) -> Result<&mut Log, Failure> {
        let name = channel.as_str().ok_or_else(|| Failure::new(format!("{channel} names no log")))?;
        Ok(self.logs.entry(name.to_owned()).or_default())
    }

    /// Notes that the process was killed: entries that were acknowledged last may arrive again.
    pub(super) fn killed(&mut self) {
        self.logs.values_mut().for_each(|log| log.may_repeat = true);
    }

    /// Takes the next text of a log.
    pub(super) fn next_text(&mut self, channel: &str) -> Option<String> {
        self.logs.get_mut(channel)?.texts.pop_front()
    }

    /// Finds the message with a text, in any log.
    pub(super) fn message(&self, text: &str) -> Option<&Value> {
        self.logs.values().find_map(|log| log.messages.get(text))
    }
}

fn number(value: &Value) -> Result<u64, Failure> {
    value.as_u64().ok_or_else(|| Failure::new(format!("{value} is no place in a log")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(channel: &str, seq: u64, text: &str) -> Value {
        json!({"type": "message", "message": {"text": text, "position": {"channel": channel, "seq": seq, "id": null}}})
    }

    #[test]
    fn logs_are_in_order_each_for_itself() {
        let mut application = Application::default();
        for event in [message("", 1, "a"), message("team", 1, "b"), message("", 2, "c")] {
            assert_eq!(application.apply(&event).unwrap(), Some(event["message"]["position"].clone()));
        }
        assert_eq!(application.next_text("").as_deref(), Some("a"));
        assert_eq!(application.next_text("").as_deref(), Some("c"));
        assert_eq!(application.next_text(""), None);
        assert!(application.message("b").is_some());
    }

    #[test]
    fn gaps_and_repetitions_are_failures() {
        let mut application = Application::default();
        application.apply(&message("", 1, "a")).unwrap();
        let gap = application.apply(&message("", 3, "c")).unwrap_err();
        assert!(gap.to_string().starts_with("a gap: entry 3 came after 1"), "{gap}");
        let repeated = application.apply(&message("", 1, "a")).unwrap_err();
        assert!(repeated.to_string().starts_with("a repetition"), "{repeated}");
        application.killed();
        application.apply(&message("", 1, "a")).unwrap();
        assert_eq!(application.next_text("").as_deref(), Some("a"));
        assert_eq!(application.next_text(""), None, "it has it already");
        application.apply(&json!({"type": "reset", "channel": "", "seq": 9, "reason": "trimmed"})).unwrap();
        application.apply(&message("", 10, "d")).unwrap();
    }
}
