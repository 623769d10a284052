"""Messages, conversations and events, as a client tells them."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Union

from .content import Content, ForwardedEntry, Quote, Reaction
from .errors import RefusalKind

__all__ = [
    "CallSignal",
    "CallStep",
    "Channel",
    "ChannelRead",
    "Connected",
    "ConversationChange",
    "ConversationPage",
    "ConversationState",
    "ConversationsChanged",
    "CustomSignal",
    "Disconnected",
    "Event",
    "FoundPage",
    "HistoryPage",
    "HistoryRange",
    "Inbox",
    "JoinedRoom",
    "Kind",
    "ListedConversation",
    "Message",
    "MessageRef",
    "Position",
    "PresenceChanged",
    "PublishFailed",
    "Published",
    "PublishResult",
    "ReadMark",
    "ReadReceipt",
    "Readers",
    "Recalled",
    "Recipient",
    "Reset",
    "ResetReason",
    "RoomLeft",
    "RoomLeftCause",
    "SearchPlace",
    "SendFailure",
    "SendState",
    "ShownMessage",
    "ShownReaction",
    "Signal",
    "SignalReceived",
    "State",
    "Stopped",
    "Terminal",
    "TerminalPresence",
    "Transport",
    "Typing",
    "UnknownEvent",
    "UnknownSignal",
    "Unread",
    "UpToDate",
    "User",
    "UserPresence",
]


class Terminal(enum.Enum):
    """A kind of device. The login policy tells devices apart by it."""

    WEB = "web"
    ANDROID = "android"
    IOS = "ios"
    DESKTOP = "desktop"
    MINI_PROGRAM = "mini_program"
    OTHER = "other"


class Transport(enum.Enum):
    """How frames travel."""

    QUIC = "quic"
    WEB_SOCKET = "web_socket"


class State(enum.Enum):
    """The state of a client."""

    DISCONNECTED = "disconnected"
    """The application has not asked for a connection, or is in the background."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    """The next attempt follows after a delay."""
    STOPPED = "stopped"
    """The client stays away: see :class:`Stopped`."""
    CLOSED = "closed"
    """The client is closed for good."""


class ResetReason(enum.Enum):
    """Why a log goes on elsewhere."""

    NEW = "new"
    """The device did not follow the log before."""
    TRIMMED = "trimmed"
    """The log no longer reaches back to what the device has."""
    FORKED = "forked"
    """The log was rolled back."""
    LEFT = "left"
    """The user is not a member of the channel any more."""


class RoomLeftCause(enum.Enum):
    """Why the device is not in a room any more."""

    KICKED = "kicked"
    CLOSED = "closed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class CallStep(enum.Enum):
    """The steps of a call."""

    RING = "ring"
    CANCEL = "cancel"
    BUSY = "busy"
    OFFER = "offer"
    ANSWER = "answer"
    CANDIDATE = "candidate"
    HANGUP = "hangup"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    UNKNOWN = "unknown"


class SendState(enum.Enum):
    """How far a send got."""

    PENDING = "pending"
    """It waits for a connection, or for an earlier one to the same receiver."""
    SENT = "sent"
    """It was handed to a connection, and no answer has come."""
    FAILED = "failed"
    """It failed for good."""


@dataclass(frozen=True, slots=True)
class User:
    """A user, as the receiver of a message or the other side of a conversation."""

    user: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A group, or a room."""

    channel: str


@dataclass(frozen=True, slots=True)
class Inbox:
    """Everything in the user's inbox."""


Recipient = Union[User, Channel]
"""The receiver of a message, which also names the conversation. A plain string is a user wherever one is taken."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log."""

    channel: str
    """The channel; empty: the user's inbox."""
    seq: int
    """Counted from 1, without holes. 0: before the first entry."""
    id: int | None = None
    """The message there, if it is known."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came. As an event, and on pages of history."""

    id: int
    """Its id: 63 bits, unique, roughly in order of time."""
    from_user: str | None
    """The sender. None: the back end itself."""
    to_user: str | None
    """The user that it is addressed to. None: this user, as one of several or as a member of ``channel``."""
    channel: str | None
    """The channel that it was sent to."""
    content: Content
    local_id: int | None
    """The id of the send, if this device has sent the message, also before a restart."""
    transport: Transport
    position: Position | None
    """Its place in a log, to acknowledge. None: it is in no log."""

    @property
    def text(self) -> str | None:
        """Its text, if it is a plain one."""
        return self.content.text

    @property
    def sent_at(self) -> datetime:
        """When it was sent, which its id says."""
        from ._bridge import native

        return datetime.fromtimestamp((native.message_unix_ms(self.id) or 0) / 1000, timezone.utc)

    def ref(self, me: str) -> MessageRef | None:
        """The reference by which to change it. ``me`` is the user of this device. None: it is in no log and cannot be changed."""
        from ._bridge import native, to_native, to_python

        ref: MessageRef | None = to_python(native.message_ref(to_native(self), me))
        return ref

    def quote(self) -> Quote:
        """A quote of it, for an answer in the same conversation, that the back end can verify."""
        from ._bridge import call_sync, native, to_native, to_python

        quote: Quote = to_python(call_sync(native.quote_message, to_native(self)))
        return quote

    def forward(self) -> ForwardedEntry:
        """It as an entry of a bundle of forwarded messages, that the back end can verify."""
        from ._bridge import call_sync, native, to_native, to_python

        entry: ForwardedEntry = to_python(call_sync(native.forward_message, to_native(self)))
        return entry


@dataclass(frozen=True, slots=True)
class MessageRef:
    """The place of a message, by which to change it."""

    to_user: str | None
    """The other user of the conversation; oneself, where there is no other. None: it is in a channel."""
    to_channel: str | None
    """The channel. None: it is between users."""
    id: int
    seq: int
    """Its place in this user's log of the conversation."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The answer of the back end that took a message."""

    message_id: int | None
    """The id that the message got. None: the back end handled it without sending a message."""
    answer: bytes
    """The application's own answer, often empty."""


@dataclass(frozen=True, slots=True)
class SendFailure:
    """Why a send has failed for good."""

    code: str
    reason: str
    kind: RefusalKind | None
    rule_code: int
    retryable: bool
    """Whether the same may succeed if it is sent anew, and cannot arrive twice by that."""


@dataclass(frozen=True, slots=True)
class ReadMark:
    """How far a user has read."""

    seq: int
    """The last entry that was read; 0: none."""
    id: int | None = None


@dataclass(frozen=True, slots=True)
class ConversationState:
    """The marks of a user in a conversation, the same on all of the user's devices."""

    conversation: Recipient
    version: int
    """The number of the user's change by which it became so. 0: nothing was set."""
    read: ReadMark
    peer_read: int | None
    """In a conversation with a user: the last message that this user has read of it."""
    pinned: bool
    muted: bool
    draft: str
    hidden: int
    """Not in the list as long as nothing is behind this entry."""
    deleted: int
    """Entries up to this one are not shown to the user any more."""
    joined: int
    """In a channel whose past is not for new members: entries up to this one are not shown either."""
    closed: int | None
    """The channel was closed while the user was a member."""
    marked_unread: bool
    muted_until: datetime | None
    """Where it is muted: only until then. None: without an end."""
    mentions_only: bool
    """Of its unread messages only those that mention the user count in the sum."""


@dataclass(frozen=True, slots=True)
class ConversationChange:
    """Marks to set in a conversation. The others stay as they are."""

    read: ReadMark | None = None
    pinned: bool | None = None
    muted: bool | None = None
    muted_until: datetime | None = None
    mentions_only: bool | None = None
    marked_unread: bool | None = None
    draft: str | None = None
    """At most 1024 bytes; empty removes it."""
    hidden: int | None = None
    """Out of the list until something is behind this entry; 0: back in it."""
    deleted: int | None = None
    """Nothing up to this entry is shown to this user any more."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A message was recalled."""

    change: int
    by_user: str | None
    """The user that recalled it. None: the back end itself."""


@dataclass(frozen=True, slots=True)
class ListedConversation:
    """A conversation in the list."""

    state: ConversationState
    last: Message | None
    """The last message that the user may see, with what it says after its last edit."""
    last_edit: int | None
    last_recalled: Recalled | None
    end: int
    """The end of the log that this is of."""
    unread: int
    unread_more: bool
    """There may be more than that."""
    unread_seqs: Sequence[int]
    unread_ids: Sequence[int]
    mention_seqs: Sequence[int]


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A page of the user's conversations."""

    conversations: Sequence[ListedConversation]
    """Pinned ones first, then by their last messages, newest first."""
    hidden: Sequence[ListedConversation]
    more: bool
    unread: int
    unread_more: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """How many messages are unread."""

    count: int
    more: bool
    """There may be more."""


@dataclass(frozen=True, slots=True)
class Readers:
    """The readers of a message."""

    count: int
    users: Sequence[str]
    """Some of them, or all."""


@dataclass(frozen=True, slots=True)
class ReadReceipt:
    """How far a member has read a channel."""

    channel: str
    user: str
    seq: int
    id: int | None


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """A part of a log: the newest entries, or those before or after a place."""

    before: int | None = None
    """Entries with lower seqs, the highest of them first."""
    after: int | None = None
    """Entries with higher seqs, the lowest of them first; 0: from the beginning."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of content: one of the protocol's own by the number of its field in ``Content``, or the application's own by its name."""

    number: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of the past."""

    messages: Sequence[Message]
    """In the order of the log, whatever the direction, each with its position."""
    changes: Sequence[Message]
    """Reactions to these messages and their pins, also those that stand on newer pages: for a timeline."""
    next: HistoryRange | None
    """Where to go on, also behind a page with few messages or none; None: that was all."""


@dataclass(frozen=True, slots=True)
class SearchPlace:
    """How far a search has come, to go on from there."""

    channel: str | None
    message_id: int


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Messages that were found."""

    messages: Sequence[Message]
    """The newest first, each with its position in its log."""
    next: SearchPlace | None


@dataclass(frozen=True, slots=True)
class TerminalPresence:
    """One kind of device of a user."""

    terminal: Terminal
    online: bool
    last_seen: datetime | None
    """When the last one was disconnected. None: not known."""


@dataclass(frozen=True, slots=True)
class UserPresence:
    """The presence of a user."""

    user: str
    terminals: Sequence[TerminalPresence]

    @property
    def online(self) -> bool:
        """At least one device is connected."""
        return any(terminal.online for terminal in self.terminals)


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody is writing. Say it again every few seconds."""

    stopped: bool = False


@dataclass(frozen=True, slots=True)
class CallSignal:
    """One step of setting a call up or ending it."""

    id: str
    """The call's name, the same for all of its steps."""
    step: CallStep
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class CustomSignal:
    """A signal of a kind that the application defines."""

    kind: str
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class UnknownSignal:
    """A signal of a kind that this version does not know. It cannot be sent."""


Signal = Union[Typing, CallSignal, CustomSignal, UnknownSignal]
"""Something for the moment."""


@dataclass(frozen=True, slots=True)
class JoinedRoom:
    """A room that the device is in."""

    online: int
    """About how many devices are in the room."""
    answer: bytes
    """The application's own answer, often empty."""
    recent: Sequence[Message]
    """The last messages, in order, as far as the back end sends them."""


@dataclass(frozen=True, slots=True)
class ShownReaction:
    """All who reacted with one emoji."""

    emoji: str
    users: Sequence[str]
    """At least one; empty stands for the back end itself."""


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message as it is to be shown."""

    id: int
    from_user: str | None
    content: Content | None
    """After its last edit. None: it was recalled or deleted."""
    edited: bool
    recalled: bool
    recalled_by: str | None
    deleted: bool
    """The user does not want to see it: leave it out."""
    pinned: bool
    reactions: Sequence[ShownReaction]


# Events


@dataclass(frozen=True, slots=True)
class Connected:
    """A server has welcomed the device: messages flow from here on."""

    user: str
    """The user that the token names."""
    transport: Transport
    endpoint: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended, or an attempt to make one failed."""

    code: int | None
    """The close code, if one was given; a network error has none."""
    reason: str
    retry_in: float | None
    """In how many seconds the next attempt follows. None: the application itself disconnected, or is in the background."""


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Everything that was in the logs when the connection began has come. Once for each connection."""


@dataclass(frozen=True, slots=True)
class Reset:
    """A log goes on elsewhere: what the application has of it does not lead on to what comes next."""

    position: Position
    """The next entry is the one after this."""
    reason: ResetReason


@dataclass(frozen=True, slots=True)
class ConversationsChanged:
    """Something was set in conversations, or the other user has read further. Each state replaces an earlier one with a lower version."""

    states: Sequence[ConversationState]


@dataclass(frozen=True, slots=True)
class ChannelRead:
    """A member has read further in a channel of few members. It may get lost."""

    receipt: ReadReceipt


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """Another device signalled something."""

    from_user: str
    device: str
    """The device, such as ``ios/4f1c``: :meth:`Client.signal_device` takes it."""
    channel: str | None
    """The channel that it was sent to. None: to this user."""
    signal: Signal


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """The presence of a user that the device watches has changed."""

    presence: UserPresence


@dataclass(frozen=True, slots=True)
class RoomLeft:
    """The device is not in a room any more, and did not ask for that."""

    channel: str
    cause: RoomLeftCause
    reason: str
    rule_code: int
    """The application's own code, where its handler refused to let the device in again, else 0."""


@dataclass(frozen=True, slots=True)
class Published:
    """The back end has taken a send."""

    local_id: int
    """The id of the send: :attr:`SendHandle.local_id`."""
    message_id: int | None
    """The id that the message got. None: the back end handled it without sending a message."""
    answer: bytes


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """A send failed for good. It stays among the unsettled ones until it is discarded or retried."""

    local_id: int
    code: str
    reason: str
    kind: RefusalKind | None
    rule_code: int
    retryable: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """The client stays away until it is told to connect again."""

    code: int | None
    """The close code; None when no server was the reason."""
    cause: str
    """Why: ``server``, ``token``, ``other_user``, ``failed``, or of the store ``store_in_use``, ``store_full`` and so on."""
    reason: str


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """Something that this version does not know."""


Event = Union[
    Connected,
    Disconnected,
    Message,
    UpToDate,
    Reset,
    ConversationsChanged,
    ChannelRead,
    SignalReceived,
    PresenceChanged,
    RoomLeft,
    Published,
    PublishFailed,
    Stopped,
    UnknownEvent,
]
"""An event. Events come in the order in which they happened."""

Fields = Mapping[str, str]
