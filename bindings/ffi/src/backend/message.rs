//! Messages that a back end sends, and their receipts.

use std::sync::Arc;

use im_sdk::backend::{self as sdk, channel, users};

use super::BackendError;
use crate::{Content, Terminal};

/// The durability of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Durability {
    /// Not stored: a device that is not connected does not get it.
    Transient,
    /// Stored in the logs of its recipients before the send completes.
    Logged,
    /// Logged, and queued for the message store.
    Archived,
}

impl From<Durability> for sdk::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Transient => Self::Transient,
            Durability::Logged => Self::Logged,
            Durability::Archived => Self::Archived,
        }
    }
}

impl From<sdk::Durability> for Durability {
    fn from(durability: sdk::Durability) -> Self {
        match durability {
            sdk::Durability::Transient => Self::Transient,
            sdk::Durability::Archived => Self::Archived,
            _ => Self::Logged,
        }
    }
}

/// The treatment of a transient message for a device that reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Priority {
    /// The device is disconnected, and syncs when it reconnects.
    DisconnectSlow,
    /// The message is dropped for devices whose queue is more than half full.
    Normal,
    /// The message is dropped for devices whose queue is more than an eighth full.
    Low,
}

impl From<Priority> for sdk::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::DisconnectSlow => Self::DisconnectSlow,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

/// The receivers of a message.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Target {
    /// Users.
    Users {
        /// Their ids. Duplicates count once.
        users: Vec<String>,
    },
    /// The members of a channel, and the devices that joined it as a room.
    Channel {
        /// Its id.
        channel: String,
    },
}

impl From<Target> for sdk::Target {
    fn from(target: Target) -> Self {
        match target {
            Target::Users { users: ids } => users(ids),
            Target::Channel { channel: id } => channel(id),
        }
    }
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OutgoingMessage {
    /// The recipients. None: implied by the call that sends the message, such as `send_to_room`.
    pub to: Option<Target>,
    /// The content.
    pub content: Content,
    /// The sender. None: the back end itself.
    #[uniffi(default = None)]
    pub from_user: Option<String>,
    /// The durability. None: the configured default.
    #[uniffi(default = None)]
    pub durability: Option<Durability>,
    /// The treatment of a transient message for a slow device.
    #[uniffi(default = None)]
    pub priority: Option<Priority>,
    /// Restricts a transient message to users' devices of these kinds. Empty: all kinds.
    #[uniffi(default = [])]
    pub terminals: Vec<Terminal>,
    /// An idempotency key, valid for some hours. A second send with it sends nothing, and returns the id and the positions of the first.
    #[uniffi(default = None)]
    pub idempotency_key: Option<String>,
}

impl OutgoingMessage {
    pub(super) fn parse(self) -> Result<sdk::Message, BackendError> {
        let message = self.to.map_or_else(sdk::Message::new, sdk::Message::to);
        let mut message = message.content(self.content.parse()?);
        if let Some(user) = self.from_user {
            message = message.from(user);
        }
        if let Some(durability) = self.durability {
            message = message.durability(durability.into());
        }
        if let Some(priority) = self.priority {
            message = message.priority(priority.into());
        }
        if !self.terminals.is_empty() {
            message = message.terminals(self.terminals.into_iter().map(Into::into));
        }
        if let Some(key) = self.idempotency_key {
            message = message.idempotency_key(key);
        }
        Ok(message)
    }
}

/// A device and its user.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct UserDevice {
    /// The user.
    pub user: String,
    /// The device, such as `ios/4f1c`.
    pub device: String,
}

impl From<&sdk::UserDevice> for UserDevice {
    fn from(device: &sdk::UserDevice) -> Self {
        Self { user: device.user.to_string(), device: device.device.to_string() }
    }
}

/// The position of a message in a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct InboxPlace {
    /// The user.
    pub user: String,
    /// The position.
    pub seq: u64,
}

/// The result of a send to a channel.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ChannelReceipt {
    /// The channel.
    pub channel: String,
    /// The position in the channel's log; 0 if it is in no log.
    pub seq: u64,
    /// Servers that have queued it for the members connected to them.
    pub pushed: Vec<String>,
    /// Servers that did not answer in time.
    pub unconfirmed: Vec<String>,
    /// The number of connections that have it queued.
    pub connections: u64,
    /// The number of connections for which it was dropped, because of its priority.
    pub shed: u64,
    /// The servers of the members could not be looked up. Connected members get the message with their next sync.
    pub unlocated: bool,
}

/// The result of a send, per device and user.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Delivery {
    /// The id assigned to the message.
    pub message_id: u64,
    /// The durability of the message.
    pub durability: Durability,
    /// The result of a send to a channel.
    pub channel: Option<ChannelReceipt>,
    /// Its position in each recipient's inbox.
    pub logged: Vec<InboxPlace>,
    /// The message was sent before, with the same idempotency key.
    pub repeated: bool,
    /// Devices whose server has queued it.
    pub pushed: Vec<UserDevice>,
    /// Users without a connected device.
    pub offline: Vec<String>,
    /// Devices whose server did not answer in time.
    pub unconfirmed: Vec<UserDevice>,
    /// Users whose connected devices could not be looked up.
    pub unlocated: Vec<String>,
}

/// The receipt of a send.
#[derive(Debug, uniffi::Object)]
pub struct Receipt {
    pub(super) inner: sdk::Receipt,
}

impl Receipt {
    pub(super) fn new(inner: sdk::Receipt) -> Arc<Self> {
        Arc::new(Self { inner })
    }
}

#[uniffi::export]
impl Receipt {
    /// The id assigned to the message.
    pub fn message_id(&self) -> u64 {
        self.inner.message_id.as_u64()
    }

    /// The result of the send.
    pub fn delivery(&self) -> Delivery {
        let receipt = &self.inner;
        let logged =
            |(user, seq): &(im_sdk::id::UserId, u64)| InboxPlace { user: user.to_string(), seq: *seq };
        Delivery {
            message_id: receipt.message_id.as_u64(),
            durability: receipt.durability.into(),
            channel: receipt.channel.as_ref().map(ChannelReceipt::from),
            logged: receipt.logged.iter().map(logged).collect(),
            repeated: receipt.repeated,
            pushed: receipt.pushed.iter().map(UserDevice::from).collect(),
            offline: strings(&receipt.offline),
            unconfirmed: receipt.unconfirmed.iter().map(UserDevice::from).collect(),
            unlocated: strings(&receipt.unlocated),
        }
    }
}

impl From<&sdk::ChannelReceipt> for ChannelReceipt {
    fn from(receipt: &sdk::ChannelReceipt) -> Self {
        Self {
            channel: receipt.channel.to_string(),
            seq: receipt.seq,
            pushed: strings(&receipt.pushed),
            unconfirmed: strings(&receipt.unconfirmed),
            connections: receipt.connections,
            shed: receipt.shed,
            unlocated: receipt.unlocated,
        }
    }
}

/// The delivery state of a message at one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum DeviceState {
    /// The device's application has processed the message.
    Acked,
    /// The server queued the message, but the device did not acknowledge it in time.
    Pushed,
    /// It is unknown if the server queued the message, and the device did not acknowledge it in time.
    Unconfirmed,
    /// The device is no longer connected, and has not acknowledged the message.
    Offline,
}

/// The delivery state of a message across all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum AckOutcome {
    /// Every connected device has acknowledged the message, and at least one device has.
    Acked,
    /// No recipient's device is connected, and none has acknowledged the message.
    Offline,
    /// Some connected devices did not acknowledge the message in time.
    TimedOut,
}

/// A device and the delivery state of a message there.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct DeviceAckState {
    /// The user.
    pub user: String,
    /// The device.
    pub device: String,
    /// The delivery state.
    pub state: DeviceState,
}

/// The acknowledgements of recipients' devices.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AckReport {
    /// The state across all devices.
    pub outcome: AckOutcome,
    /// The state of each device.
    pub devices: Vec<DeviceAckState>,
    /// Recipients that have no device in `devices`.
    pub offline: Vec<String>,
    /// Recipients whose connected devices could not be looked up.
    pub unlocated: Vec<String>,
}

impl From<sdk::AckReport> for AckReport {
    fn from(report: sdk::AckReport) -> Self {
        let device = |(device, state): (&sdk::UserDevice, &sdk::DeviceState)| DeviceAckState {
            user: device.user.to_string(),
            device: device.device.to_string(),
            state: match state {
                sdk::DeviceState::Acked => DeviceState::Acked,
                sdk::DeviceState::Pushed => DeviceState::Pushed,
                sdk::DeviceState::Offline => DeviceState::Offline,
                _ => DeviceState::Unconfirmed,
            },
        };
        Self {
            outcome: match report.outcome {
                sdk::AckOutcome::Acked => AckOutcome::Acked,
                sdk::AckOutcome::Offline => AckOutcome::Offline,
                _ => AckOutcome::TimedOut,
            },
            devices: report.devices.iter().map(device).collect(),
            offline: strings(&report.offline),
            unlocated: strings(&report.unlocated),
        }
    }
}

/// The result of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct BroadcastReceipt {
    /// The id assigned to the message.
    pub message_id: u64,
    /// The number of connections that have it queued.
    pub connections: u64,
    /// Servers that have it.
    pub servers: Vec<String>,
    /// Servers that did not take it.
    pub refused: Vec<String>,
    /// Servers that did not answer in time.
    pub unconfirmed: Vec<String>,
}

impl From<sdk::BroadcastReceipt> for BroadcastReceipt {
    fn from(receipt: sdk::BroadcastReceipt) -> Self {
        Self {
            message_id: receipt.message_id.as_u64(),
            connections: receipt.connections,
            servers: strings(&receipt.servers),
            refused: strings(&receipt.refused),
            unconfirmed: strings(&receipt.unconfirmed),
        }
    }
}

pub(super) fn strings(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
