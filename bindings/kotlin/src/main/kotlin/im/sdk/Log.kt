package im.sdk

import im.sdk.ffi.LogLevel as FfiLogLevel
import im.sdk.ffi.LogRecord as FfiLogRecord
import im.sdk.ffi.LogSink as FfiLogSink

/** Takes the records of the SDK's log. */
public fun interface LogSink {
    /** Takes a record. It is called on one thread, one record after the other, and may block; exceptions are ignored. */
    public fun log(record: LogRecord)
}

/** A record of the log. No token and no content of a message is in it. */
public data class LogRecord(
    /** The time, in milliseconds since the Unix epoch. */
    val atMillis: Long,
    /** Its importance. */
    val level: LogLevel,
    /** The part of the library that it comes from, such as `im_sdk::client`. */
    val target: String,
    /** The message. */
    val message: String,
    /** The fields of the message. */
    val fields: Map<String, String>,
)

/** The levels of log records. */
public enum class LogLevel {
    /** Something has failed. */
    ERROR,

    /** Something is not as it should be, or costs more than it should. */
    WARN,

    /** The usual course of things. */
    INFO,

    /** For developers of applications. */
    DEBUG,

    /** For developers of the SDK. */
    TRACE,
}

/** The log of all clients of the process. */
public object Logging {
    /**
     * Sets where the log goes, from a level on; with `null` it goes nowhere, which is how it begins. A sink must not call this. Returns
     * `false` if another library in this process has taken the log of Rust code before.
     */
    @JvmStatic
    public fun setSink(level: LogLevel, sink: LogSink?): Boolean =
        im.sdk.ffi.setLogSink(level.toFfi(), sink?.let(::BridgedSink))
}

private class BridgedSink(private val sink: LogSink) : FfiLogSink {
    override fun log(record: FfiLogRecord) {
        sink.log(
            LogRecord(record.unixMs.toLong(), record.level.toPublic(), record.target, record.message, record.fields),
        )
    }
}

private fun LogLevel.toFfi(): FfiLogLevel =
    when (this) {
        LogLevel.ERROR -> FfiLogLevel.ERROR
        LogLevel.WARN -> FfiLogLevel.WARN
        LogLevel.INFO -> FfiLogLevel.INFO
        LogLevel.DEBUG -> FfiLogLevel.DEBUG
        LogLevel.TRACE -> FfiLogLevel.TRACE
    }

private fun FfiLogLevel.toPublic(): LogLevel =
    when (this) {
        FfiLogLevel.ERROR -> LogLevel.ERROR
        FfiLogLevel.WARN -> LogLevel.WARN
        FfiLogLevel.INFO -> LogLevel.INFO
        FfiLogLevel.DEBUG -> LogLevel.DEBUG
        FfiLogLevel.TRACE -> LogLevel.TRACE
    }
