package im.sdk

import im.sdk.bridge.toFfi
import im.sdk.bridge.toPublic
import im.sdk.ffi.ShownMessage as FfiShownMessage
import im.sdk.ffi.Timeline as FfiTimeline

/**
 * The messages of a conversation with their changes applied. It takes messages and changes in any order and any number of times.
 *
 * @throws InvalidContentException if [user], to whom it is shown, is no user id
 */
public class Timeline public constructor(user: String) {
    private val ffi: FfiTimeline = translating { FfiTimeline(user) }

    /**
     * Takes a message, of an event or of history. Returns the id of the message that looks different now, if one does.
     *
     * @throws InvalidContentException if it was not received like this
     */
    public fun apply(message: ReceivedMessage): Long? = translating { ffi.apply(message.toFfi())?.toLong() }

    /** Takes the messages and changes of a page. */
    public fun apply(page: HistoryPage) {
        page.messages.forEach(::apply)
        page.changes.forEach(::apply)
    }

    /** Returns a message, if it has come. */
    public operator fun get(id: Long): ShownMessage? = ffi.get(id.toULong())?.toPublic()

    /** Returns all messages that have come, in the order of their log. */
    public fun messages(): List<ShownMessage> = ffi.messages().map { it.toPublic() }

    /** The number of changes that wait for messages that have not come. */
    public val waiting: Long get() = ffi.waiting().toLong()

    /** Messages up to this one are forgotten, and are not taken any more. `null`: none are. */
    public val horizon: Long? get() = ffi.horizon()?.toLong()

    /** Forgets messages up to this one, with their changes. */
    public fun forgetThrough(id: Long): Unit = ffi.forgetThrough(id.toULong())
}

/** A message as it is to be shown. */
public data class ShownMessage(
    /** Its id. */
    val id: Long,
    /** The sender. `null`: the back end itself. */
    val fromUser: String?,
    /** Its content, after its last edit. `null`: it was recalled or deleted. */
    val content: Content?,
    /** It has another content than at first. */
    val isEdited: Boolean,
    /** It was recalled: nobody is to see its content. */
    val isRecalled: Boolean,
    /** The user that recalled it. `null`: the back end itself. */
    val recalledBy: String?,
    /** The user does not want to see it: leave it out. */
    val isDeleted: Boolean,
    /** It is to be kept in view. */
    val isPinned: Boolean,
    /** The reactions to it. */
    val reactions: List<Reaction>,
)

/** All users who reacted with one emoji. */
public data class Reaction(
    /** The emoji. */
    val emoji: String,
    /** The users, at least one. An empty name stands for the back end itself. */
    val users: List<String>,
)

private fun FfiShownMessage.toPublic(): ShownMessage =
    ShownMessage(
        id = id.toLong(),
        fromUser = fromUser,
        content = content?.toPublic(),
        isEdited = edited,
        isRecalled = recalled,
        recalledBy = recalledBy,
        isDeleted = deleted,
        isPinned = pinned,
        reactions = reactions.map { Reaction(it.emoji, it.users) },
    )
