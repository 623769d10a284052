package im.sdk

/** An immutable sequence of bytes, compared by content. */
public class Bytes private constructor(private val bytes: ByteArray) {
    /** The number of bytes. */
    public val size: Int get() = bytes.size

    /** Returns whether there are no bytes. */
    public fun isEmpty(): Boolean = bytes.isEmpty()

    /** Returns the byte at [index]. */
    public operator fun get(index: Int): Byte = bytes[index]

    /** Returns a copy of the bytes. */
    public fun toByteArray(): ByteArray = bytes.copyOf()

    /** Decodes the bytes as UTF-8; malformed bytes become replacement characters. */
    public fun decodeToString(): String = bytes.decodeToString()

    override fun equals(other: Any?): Boolean = other is Bytes && bytes.contentEquals(other.bytes)

    override fun hashCode(): Int = bytes.contentHashCode()

    /** Returns the size, and the bytes in hexadecimal if they are few. */
    override fun toString(): String =
        if (size > SHOWN) "Bytes($size)" else bytes.joinToString("", "Bytes(", ")") { "%02x".format(it) }

    internal fun unwrap(): ByteArray = bytes

    public companion object {
        /** No bytes. */
        @JvmField
        public val EMPTY: Bytes = Bytes(ByteArray(0))

        /** Copies an array. */
        @JvmStatic
        public fun of(bytes: ByteArray): Bytes = Bytes(bytes.copyOf())

        /** Encodes a text as UTF-8. */
        @JvmStatic
        public fun utf8(text: String): Bytes = Bytes(text.encodeToByteArray())

        /** Takes an array that nothing else holds. */
        internal fun wrap(bytes: ByteArray): Bytes = if (bytes.isEmpty()) EMPTY else Bytes(bytes)

        /** A digest is shown whole. */
        private const val SHOWN = 32
    }
}
