//! The format of scenarios.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A scenario: `bindings/scenarios/README.md` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as the table of results shows it.
    pub name: String,
    /// The maximum number of entries of a log; large unless given.
    pub log_entries: Option<u64>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "bindings/scenarios/README.md describes them")]
pub enum Step {
    Open {
        device: String,
        server: Option<usize>,
        #[serde(default)]
        tokens: Vec<TokenKind>,
        #[serde(default)]
        offline: bool,
    },
    Connect {
        device: String,
    },
    Disconnect {
        device: String,
    },
    Send {
        device: String,
        to: Party,
        texts: Texts,
        #[serde(default)]
        unsettled: bool,
    },
    Settled {
        device: String,
    },
    Unsettled {
        device: String,
        texts: Texts,
    },
    Refused {
        device: String,
        to: Party,
        text: String,
        code: String,
    },
    Receive {
        device: String,
        #[serde(default)]
        channel: String,
        texts: Texts,
    },
    Expect {
        device: String,
        event: Map<String, Value>,
    },
    History {
        device: String,
        conversation: Party,
        limit: u32,
        texts: Texts,
    },
    React {
        device: String,
        to: String,
        emoji: String,
    },
    Shows {
        device: String,
        text: String,
        reactions: BTreeMap<String, Vec<String>>,
    },
    Typing {
        device: String,
        to: Party,
    },
    Group {
        channel: String,
        members: Vec<String>,
    },
    BackEndSend {
        to: String,
        texts: Texts,
    },
    Kick {
        user: String,
        reason: String,
    },
    KillServer {
        server: usize,
    },
    Exit {
        device: String,
    },
    Shutdown {
        device: String,
    },
}

/// A user or a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// A user.
    User(String),
    /// A channel.
    Channel(String),
}

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Expires in an hour.
    Valid,
    /// Expires in some seconds.
    Ending,
    /// Has expired.
    Expired,
}

/// Texts of messages.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// The texts themselves.
    List(Vec<String>),
    /// The prefix, followed by the numbers from 1.
    Numbered {
        /// The prefix.
        prefix: String,
        /// The number of texts.
        count: u32,
    },
}

impl Texts {
    /// Returns the texts, in order.
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::List(texts) => texts.clone(),
            Self::Numbered { prefix, count } => {
                (1..=*count).map(|number| format!("{prefix}{number}")).collect()
            }
        }
    }
}
