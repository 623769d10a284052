package im.sdk

import im.sdk.bridge.toFfi
import im.sdk.bridge.toPublic

/** The content of a message. */
@ExposedCopyVisibility
public data class Content internal constructor(
    /** The kind of content, with its fields. */
    val body: Body,
    /** The users whom it mentions. */
    val mentions: List<String>,
    /** It mentions everybody in the conversation. */
    val mentionsEverybody: Boolean,
    /** The message that it answers. */
    val quote: Quote?,
    /** The id of the message at the root of the thread that this one belongs to. */
    val thread: Long?,
    /** It does not count as unread. */
    val isSilent: Boolean,
    /** An edit or a recall was carried out where the message is kept, and this is the result. */
    val amended: Amended?,
    /** Fields of a newer version, which travel on unchanged. */
    internal val unknown: Bytes?,
) {
    /** Makes a content to send. */
    @JvmOverloads
    public constructor(
        body: Body,
        mentions: List<String> = emptyList(),
        mentionsEverybody: Boolean = false,
        quote: Quote? = null,
        thread: Long? = null,
        isSilent: Boolean = false,
    ) : this(body, mentions, mentionsEverybody, quote, thread, isSilent, null, null)

    /** The text, if the content is one. */
    val text: String? get() = (body as? Body.Text)?.text

    /**
     * Encodes the content as it travels, to be stored. Fields that this version does not know are kept.
     *
     * @throws InvalidContentException if it names somebody by an id that is none
     */
    public fun encode(): Bytes = Bytes.wrap(translating { im.sdk.ffi.encodeContent(toFfi()) })

    public companion object {
        /** Makes a plain text. */
        @JvmStatic
        public fun text(text: String): Content = Content(Body.Text(text))

        /** Makes a content of a kind that the application defines. */
        @JvmStatic
        public fun custom(kind: String, data: Bytes): Content = Content(Body.Custom(kind, data))

        /**
         * Decodes what [encode] has encoded, in this version or another one.
         *
         * @throws InvalidContentException if the bytes are something else
         */
        @JvmStatic
        public fun decode(bytes: Bytes): Content = translating { im.sdk.ffi.decodeContent(bytes.unwrap()).toPublic() }
    }
}

/** An edit or a recall that was carried out where the message is kept. */
public data class Amended(
    /** The id of the change. */
    val change: Long,
    /** It was a recall, and the content is empty. Otherwise the content is that of the edit. */
    val isRecalled: Boolean,
    /** The user that recalled it. `null`: the back end itself. */
    val byUser: String?,
    /** The rank of the change among those of the message. */
    val order: Long,
)

/** The kinds of content. */
public sealed interface Body {
    /** Plain text. */
    public data class Text(
        /** The text. */
        val text: String,
    ) : Body

    /** A picture. */
    public data class Image @JvmOverloads constructor(
        /** The picture itself. */
        val media: Media,
        /** Pixels; 0 if not known. */
        val width: Int = 0,
        /** Pixels; 0 if not known. */
        val height: Int = 0,
        /** A smaller version. */
        val thumbnail: Media? = null,
        /** Its caption. */
        val caption: String = "",
    ) : Body

    /** Any file. */
    public data class File @JvmOverloads constructor(
        /** The file itself. */
        val media: Media,
        /** Its caption. */
        val caption: String = "",
    ) : Body

    /** Recorded speech. */
    public data class Voice @JvmOverloads constructor(
        /** The recording itself. */
        val media: Media,
        /** Its length. */
        val durationMillis: Long,
        /** Its loudness: one byte for each of as many equal parts. */
        val waveform: Bytes? = null,
    ) : Body

    /** A video. */
    public data class Video @JvmOverloads constructor(
        /** The video itself. */
        val media: Media,
        /** Its length. */
        val durationMillis: Long,
        /** Pixels; 0 if not known. */
        val width: Int = 0,
        /** Pixels; 0 if not known. */
        val height: Int = 0,
        /** A still picture of it. */
        val thumbnail: Media? = null,
        /** Its caption. */
        val caption: String = "",
    ) : Body

    /** A place on earth. */
    public data class Location @JvmOverloads constructor(
        /** Degrees north of the equator, times ten million. */
        val latitudeE7: Int,
        /** Degrees east of Greenwich, times ten million. */
        val longitudeE7: Int,
        /** Its name. */
        val name: String = "",
        /** Its address. */
        val address: String = "",
    ) : Body

    /** Something with a title. */
    public data class Card @JvmOverloads constructor(
        /** The kind of thing that it stands for: `user`, `channel`, `link`, or the application's own word. */
        val kind: String,
        /** The id of that thing. */
        val id: String,
        /** Its title. */
        val title: String,
        /** Its text. */
        val text: String = "",
        /** Its link. */
        val url: String = "",
        /** Its picture. */
        val image: Media? = null,
    ) : Body

    /** Messages from elsewhere. */
    public data class Forwarded(
        /** Their title. */
        val title: String,
        /** The messages; [ReceivedMessage.forward] makes an entry. */
        val entries: List<ForwardedEntry>,
    ) : Body

    /** A notice of the system. */
    public data class Notice @JvmOverloads constructor(
        /** The application's name for it. */
        val kind: String,
        /** The text for devices that do not know the kind. */
        val text: String,
        /** Parameters, of which a device makes a sentence in its language. */
        val parameters: Map<String, String> = emptyMap(),
    ) : Body

    /** A change of another message. A [Timeline] applies it. */
    public data class Change @JvmOverloads constructor(
        /** The message that is changed. */
        val messageId: Long,
        /** The change. */
        val kind: ChangeKind,
        /** The channel that the message is in, where the change is in another log. */
        val channel: String? = null,
        /** The rank among the changes of one message; 0 on the way to the back end. */
        val order: Long = 0,
    ) : Body

    /** A kind that the application defines. */
    public data class Custom(
        /** The application's name for the kind, such as `order.paid`. */
        val kind: String,
        /** The application's bytes. */
        val data: Bytes,
    ) : Body

    /** A kind that this version does not know. Show a placeholder. */
    public data object Unknown : Body
}

/** The changes of a message. */
public sealed interface ChangeKind {
    /** Nobody is to see the message any more. */
    public data object Recall : ChangeKind

    /** The message gets another content. */
    public data class Edit(
        /** The new content. */
        val content: Content,
    ) : ChangeKind

    /** The user does not want to see the message any more. Others see it as before. */
    public data object DeleteForMe : ChangeKind

    /** The user's reaction. */
    public data class Reaction @JvmOverloads constructor(
        /** An emoji, or the application's name for one. */
        val emoji: String,
        /** The reaction is taken back. */
        val isRemoved: Boolean = false,
    ) : ChangeKind

    /** The message is kept in view, for everybody in the conversation. */
    public data class Pin @JvmOverloads constructor(
        /** The message is let go again. */
        val isRemoved: Boolean = false,
    ) : ChangeKind

    /** A kind that this version does not know. It has no effect. */
    public data object Unknown : ChangeKind
}

/** Where the bytes of a picture, a recording or a file are, and their type. */
public data class Media @JvmOverloads constructor(
    /** Their URL. */
    val url: String,
    /** A type such as `image/jpeg`; empty if not known. */
    val mimeType: String = "",
    /** Their number; 0 if not known. */
    val bytes: Long = 0,
    /** Their SHA-256 digest of 32 bytes, to check a download. */
    val sha256: Bytes? = null,
    /** The file's name, as it is to be shown. */
    val name: String = "",
)

/** A message that is passed on. */
public data class ForwardedEntry @JvmOverloads constructor(
    /** The sender. `null`: not known, or the back end. */
    val fromUser: String?,
    /** The name of the sender. */
    val name: String,
    /** When it was sent, in milliseconds since the Unix epoch; 0 if not known. */
    val sentAtMillis: Long,
    /** Its content. */
    val content: Content,
    /**
     * The back end has found the message and vouches for its sender, time and content. Otherwise the user that passes it on
     * claims them.
     */
    val isVerified: Boolean = false,
    /** Where the message is, in a log of the user that passes it on. `null`: the back end does not look for it. */
    val source: ForwardSource? = null,
)

/** The place of a message that is passed on, in a log of the user that passes it on. */
public data class ForwardSource(
    /** The message. */
    val messageId: Long,
    /** Its place in the log. */
    val seq: Long,
    /** The channel that it is in. `null`: the user's inbox. */
    val channel: String?,
)

/** The message that another one answers. [ReceivedMessage.quote] makes one. */
public data class Quote @JvmOverloads constructor(
    /** The message. */
    val messageId: Long,
    /** The sender. `null`: the back end. */
    val fromUser: String?,
    /** Its kind: `text`, `image` and so on. */
    val kind: String,
    /** The beginning of its text. */
    val excerpt: String,
    /** The back end has found the message in this conversation. Otherwise the sender of the quote claims all of this. */
    val isVerified: Boolean = false,
    /** The message was recalled, and there is no excerpt. */
    val isRecalled: Boolean = false,
    /** The message's place in the log of the user that quotes; 0: the back end does not look for it. */
    val seq: Long = 0,
)
