"""Contents of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Union

__all__ = [
    "Amended",
    "Body",
    "Card",
    "Change",
    "ChangeKind",
    "Content",
    "Custom",
    "DeleteForMe",
    "Edit",
    "File",
    "ForwardSource",
    "Forwarded",
    "ForwardedEntry",
    "Image",
    "Location",
    "Media",
    "Notice",
    "Pin",
    "Quote",
    "Reaction",
    "Recall",
    "Text",
    "UnknownBody",
    "UnknownChange",
    "Video",
    "Voice",
]


@dataclass(frozen=True, slots=True)
class Media:
    """The place and the type of the bytes of a picture, a recording or a file."""

    url: str
    mime_type: str = ""
    """Such as ``image/jpeg``; empty: not told."""
    size: int = 0
    """How many bytes; 0: not told."""
    sha256: bytes | None = None
    """32 bytes, to check what was fetched."""
    name: str = ""
    """The file's name, as it is to be shown."""


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture."""

    media: Media
    width: int = 0
    height: int = 0
    thumbnail: Media | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """Any file."""

    media: Media
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Voice:
    """Recorded speech."""

    media: Media
    duration: float
    """How long it takes, in seconds."""
    waveform: bytes | None = None
    """Loudness, one byte for each of as many equal parts."""


@dataclass(frozen=True, slots=True)
class Video:
    """A moving picture."""

    media: Media
    duration: float
    """How long it takes, in seconds."""
    width: int = 0
    height: int = 0
    thumbnail: Media | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """A place on earth."""

    latitude_e7: int
    """Degrees north of the equator, times ten million."""
    longitude_e7: int
    """Degrees east of Greenwich, times ten million."""
    name: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """Something with a title."""

    kind: str
    """The kind of thing that it stands for: ``user``, ``channel``, ``link``, or the application's own word."""
    id: str
    title: str
    text: str = ""
    url: str = ""
    image: Media | None = None


@dataclass(frozen=True, slots=True)
class ForwardSource:
    """The place of a message that is passed on, in a log of the user that passes it on."""

    message_id: int
    seq: int
    channel: str | None = None
    """The channel that it is in. None: the user's inbox."""


@dataclass(frozen=True, slots=True)
class ForwardedEntry:
    """A message that is passed on."""

    from_user: str | None
    """The sender. None: not told, or the back end."""
    name: str
    """The name of the sender."""
    sent_at: datetime | None
    """When it was sent. None: not told."""
    content: Content
    verified: bool = False
    """The back end has found the message and says who sent it, when, and what it says."""
    source: ForwardSource | None = None


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Messages from elsewhere."""

    title: str
    entries: Sequence[ForwardedEntry]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice of the system."""

    kind: str
    """The application's name for it."""
    text: str
    """For devices that do not know the kind."""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Custom:
    """A kind that the application defines."""

    kind: str
    """The application's name for the kind, such as ``order.paid``."""
    data: bytes


@dataclass(frozen=True, slots=True)
class UnknownBody:
    """A kind that this version does not know: show a placeholder."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Nobody is to see the message any more."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The message says this from now on."""

    content: Content


@dataclass(frozen=True, slots=True)
class DeleteForMe:
    """The user that says so does not want to see the message any more."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """A user's reaction to the message."""

    emoji: str
    removed: bool = False
    """It is taken back."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The message is kept in view, for everybody in the conversation."""

    removed: bool = False
    """It is let go again."""


@dataclass(frozen=True, slots=True)
class UnknownChange:
    """A kind of change that this version does not know: without effect."""


ChangeKind = Union[Recall, Edit, DeleteForMe, Reaction, Pin, UnknownChange]
"""A change of a message."""


@dataclass(frozen=True, slots=True)
class Change:
    """Changes another message."""

    message_id: int
    kind: ChangeKind
    channel: str | None = None
    """The channel that the message is in, where the change is in another log."""
    order: int = 0
    """Ranks the changes of one message."""


Body = Union[
    Text, Image, File, Voice, Video, Location, Card, Forwarded, Notice, Change, Custom, UnknownBody
]
"""What a message says."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The message that another one answers."""

    message_id: int
    from_user: str | None
    """The sender. None: the back end."""
    kind: str
    """Its kind: ``text``, ``image`` and so on."""
    excerpt: str
    """The beginning of what it says."""
    verified: bool = False
    """The back end has found the message in this conversation."""
    recalled: bool = False
    """The message was recalled: there is no excerpt."""
    seq: int = 0
    """For who quotes: the message's place in this user's log of the conversation."""


@dataclass(frozen=True, slots=True)
class Amended:
    """An edit or a recall was carried out where the message is kept."""

    change: int
    recalled: bool
    by_user: str | None
    """The user that recalled it. None: the back end itself."""
    order: int


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a message."""

    body: Body
    mentions: Sequence[str] = ()
    """Users whom it calls by name."""
    mentions_everybody: bool = False
    quote: Quote | None = None
    """The message that it answers."""
    thread: int | None = None
    """The message that the thread hangs on which this one belongs to."""
    silent: bool = False
    """It does not count as unread."""
    amended: Amended | None = None
    """An edit or a recall was carried out where the message is kept: this is what it says since then."""
    unknown: bytes | None = None
    """Fields of a newer version that this one does not know. Keep them with the rest."""

    @property
    def text(self) -> str | None:
        """The text, if it is a plain one."""
        return self.body.text if isinstance(self.body, Text) else None
