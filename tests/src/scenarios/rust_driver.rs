//! The driver in Rust.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Write as _},
    sync::{Arc, Mutex},
    time::Duration,
};

use im_sdk::{
    Conversation, HistoryRange, Recipient, Signal,
    client::{
        Client, ClientConfig, Event, Log, MessageRef, Position, ReceivedMessage, SendHandle, TokenError,
        TokenRequest, Trust, device_store::SqliteStore,
    },
    content::Content,
    id::{ChannelId, MessageId, UserId},
    timeline::Timeline,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc,
    time::timeout,
};

/// Serves requests on standard input until it ends.
///
/// # Errors
/// Returns the error of a pipe.
pub async fn serve_rust_driver() -> io::Result<()> {
    let mut requests = BufReader::new(tokio::io::stdin()).lines();
    let mut device = None;
    while let Some(line) = requests.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => answer(&mut device, &request).await,
            Err(error) => Err(Refused("invalid", error.to_string())),
        };
        let answer = answer
            .unwrap_or_else(|Refused(code, message)| json!({"error": {"code": code, "message": message}}));
        let mut output = io::stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

/// The code and the text of a failure.
struct Refused(&'static str, String);

fn refused(code: &'static str, error: impl std::fmt::Display) -> Refused {
    Refused(code, error.to_string())
}

fn invalid(error: impl std::fmt::Display) -> Refused {
    refused("invalid", error)
}

async fn answer(device: &mut Option<Device>, request: &Value) -> Result<Value, Refused> {
    if request["op"] == "open" {
        *device = Some(Device::open(request)?);
        return Ok(json!({}));
    }
    let device = device.as_mut().ok_or_else(|| invalid("nothing was opened"))?;
    match request["op"].as_str().unwrap_or_default() {
        "connect" => device.client.connect(),
        "disconnect" => device.client.disconnect(),
        "next" => return device.next(request).await,
        "ack" => device.client.ack(&position(request)?),
        "send" => return device.send(request).await,
        "outcome" => return device.outcome(request).await,
        "unsettled" => return Ok(device.unsettled().await),
        "history" => return device.history(request).await,
        "react" => return device.react(request).await,
        "shows" => return device.shows(request),
        "typing" => {
            let sent = device.client.signal(recipient(&request["to"])?, Signal::typing()).await;
            return Ok(json!({"sent": sent}));
        }
        "shutdown" => device.client.shutdown().await,
        other => return Err(refused("unsupported", format!("there is no {other:?}"))),
    }
    Ok(json!({}))
}

struct Device {
    client: Client,
    events: mpsc::UnboundedReceiver<Event>,
    sends: HashMap<String, SendHandle>,
    /// Messages that were returned, for timelines.
    messages: Vec<ReceivedMessage>,
}

impl Device {
    fn open(request: &Value) -> Result<Self, Refused> {
        let endpoints =
            strings(&request["endpoints"]).iter().map(|endpoint| endpoint.parse()).collect::<Result<_, _>>();
        let device = format!("other/{}", text(&request["device"])?).parse().map_err(invalid)?;
        let tokens = Mutex::new(VecDeque::from(strings(&request["tokens"])));
        let provider = move |why: TokenRequest| {
            let mut tokens = tokens.lock().map_err(|_| TokenError::Denied("a panic".to_owned()))?;
            if matches!(why, TokenRequest::Rejected { .. }) {
                tokens.pop_front();
            }
            tokens.front().cloned().ok_or_else(|| TokenError::Denied("there is no other token".to_owned()))
        };
        let mut config = ClientConfig::new(endpoints.map_err(invalid)?, device, Arc::new(provider));
        config.trust = Trust::sha256_hex(text(&request["trust_sha256"])?).map_err(invalid)?;
        config.store =
            Arc::new(SqliteStore::open(text(&request["store"])?).map_err(|error| refused("store", error))?);
        let client = Client::open(config).map_err(invalid)?;
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(take_events(client.clone(), sender));
        Ok(Self { client, events, sends: HashMap::new(), messages: Vec::new() })
    }

    async fn next(&mut self, request: &Value) -> Result<Value, Refused> {
        let within = Duration::from_millis(request["within_ms"].as_u64().unwrap_or_default());
        let event = timeout(within, self.events.recv()).await.ok().flatten();
        if let Some(Event::Message(message)) = &event {
            self.messages.push(message.clone());
        }
        Ok(json!({"event": event.map(|event| describe(&event))}))
    }

    async fn send(&mut self, request: &Value) -> Result<Value, Refused> {
        let content = Content::text(text(&request["text"])?);
        let sent = self.client.send(recipient(&request["to"])?, content).await;
        Ok(self.keep(sent.map_err(|error| Refused(error.code(), error.to_string()))?))
    }

    fn keep(&mut self, handle: SendHandle) -> Value {
        let local_id = handle.local_id().as_u64().to_string();
        self.sends.insert(local_id.clone(), handle);
        json!({"local_id": local_id})
    }

    async fn outcome(&mut self, request: &Value) -> Result<Value, Refused> {
        let handle =
            self.sends.get(text(&request["local_id"])?).ok_or_else(|| invalid("there is no such send"))?;
        let published = handle.outcome().await.map_err(|error| Refused(error.code(), error.to_string()))?;
        Ok(json!({"message_id": published.message_id.map(|id| id.to_string())}))
    }

    async fn unsettled(&self) -> Value {
        let sends = self.client.unsettled_sends().await;
        let describe = |send: &im_sdk::client::UnsettledSend| {
            json!({
                "local_id": send.handle.local_id().as_u64().to_string(),
                "text": send.content.as_text(),
                "state": send.state.as_str(),
            })
        };
        json!({"sends": sends.iter().map(describe).collect::<Vec<_>>()})
    }

    async fn history(&self, request: &Value) -> Result<Value, Refused> {
        let conversation = Conversation::from(recipient(&request["conversation"])?);
        let limit = request["limit"].as_u64().and_then(|limit| u32::try_from(limit).ok()).unwrap_or_default();
        let page = self.client.history(&conversation, HistoryRange::Newest, limit).await;
        let page = page.map_err(|error| Refused(error.code(), error.to_string()))?;
        Ok(json!({"messages": page.messages.iter().map(describe_message).collect::<Vec<_>>()}))
    }

    async fn react(&mut self, request: &Value) -> Result<Value, Refused> {
        let id = text(&request["message"]["id"])?;
        let me = UserId::parse(text(&request["me"])?).map_err(invalid)?;
        let message = self.messages.iter().find(|message| message.id.to_string() == id);
        let reference: Option<MessageRef> = message.and_then(|message| message.reference(&me));
        let reference = reference.ok_or_else(|| invalid("there is no such message"))?;
        let sent = self.client.react(&reference, text(&request["emoji"])?).await;
        Ok(self.keep(sent.map_err(|error| Refused(error.code(), error.to_string()))?))
    }

    fn shows(&self, request: &Value) -> Result<Value, Refused> {
        let mut timeline = Timeline::new(UserId::parse(text(&request["me"])?).map_err(invalid)?);
        for message in &self.messages {
            timeline.apply(message);
        }
        let id: MessageId = text(&request["id"])?.parse().map_err(invalid)?;
        let shown = timeline.get(id).ok_or_else(|| invalid("there is no such message"))?;
        let users = |users: Vec<Option<&UserId>>| -> Vec<String> {
            users.into_iter().map(|user| user.map(ToString::to_string).unwrap_or_default()).collect()
        };
        let reactions: serde_json::Map<_, _> = shown
            .reactions()
            .into_iter()
            .map(|reaction| (reaction.emoji.to_owned(), json!(users(reaction.users.into_iter().collect()))))
            .collect();
        Ok(json!({"text": shown.content().and_then(Content::as_text), "reactions": reactions}))
    }
}

async fn take_events(client: Client, events: mpsc::UnboundedSender<Event>) {
    loop {
        let batch = client.next_events(100).await;
        if batch.is_empty() {
            return;
        }
        for event in batch {
            if events.send(event).is_err() {
                return;
            }
        }
    }
}

fn describe(event: &Event) -> Value {
    match event {
        Event::Connected { user, .. } => json!({"type": "connected", "user": user.to_string()}),
        Event::Disconnected { code, .. } => {
            json!({"type": "disconnected", "code": code.map(|code| code.code())})
        }
        Event::Message(message) => json!({"type": "message", "message": describe_message(message)}),
        Event::UpToDate => json!({"type": "up_to_date"}),
        Event::Reset { position, reason } => json!({
            "type": "reset", "channel": position.log.as_str(), "seq": position.seq,
            "id": position.id.map(|id| id.to_string()), "reason": reason.as_str(),
        }),
        Event::Published { local_id, message_id, .. } => json!({
            "type": "published", "local_id": local_id.as_u64().to_string(),
            "message_id": message_id.map(|id| id.to_string()),
        }),
        Event::PublishFailed { local_id, error, .. } => json!({
            "type": "publish_failed", "local_id": local_id.as_u64().to_string(), "code": error.code(),
        }),
        Event::Stopped { code, cause, .. } => json!({
            "type": "stopped", "code": code.map(|code| code.code()), "cause": cause.code(),
        }),
        Event::Signal(signal) if matches!(signal.signal, Signal::Typing { .. }) => {
            json!({"type": "typing", "from": signal.from.to_string()})
        }
        _ => json!({"type": "other"}),
    }
}

fn describe_message(message: &ReceivedMessage) -> Value {
    let position = |position: &Position| {
        json!({
            "channel": position.log.as_str(), "seq": position.seq, "id": position.id.map(|id| id.to_string()),
        })
    };
    json!({
        "id": message.id.to_string(),
        "from": message.from.as_ref().map(ToString::to_string),
        "to": message.to.as_ref().map(ToString::to_string),
        "channel": message.channel.as_ref().map(ToString::to_string),
        "local_id": message.local_id.map(|id| id.as_u64().to_string()),
        "text": message.content.as_text(),
        "position": message.position.as_ref().map(position),
    })
}

fn position(request: &Value) -> Result<Position, Refused> {
    let log = Log::parse(text(&request["channel"])?).map_err(invalid)?;
    let seq = request["seq"].as_u64().ok_or_else(|| invalid("there is no seq"))?;
    let id = request["id"].as_str().map(str::parse).transpose().map_err(invalid)?;
    Ok(Position { log, seq, id })
}

fn recipient(value: &Value) -> Result<Recipient, Refused> {
    match (value["user"].as_str(), value["channel"].as_str()) {
        (Some(user), None) => Ok(Recipient::User(UserId::parse(user).map_err(invalid)?)),
        (None, Some(channel)) => Ok(Recipient::Channel(ChannelId::parse(channel).map_err(invalid)?)),
        _ => Err(invalid(format!("{value} is no receiver"))),
    }
}

fn text(value: &Value) -> Result<&str, Refused> {
    value.as_str().ok_or_else(|| invalid(format!("{value} is no text")))
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
