//! Vectors of the beginning of a session: alice's phone and its cursors.

use im_proto::{
    id::{MessageId, NodeId},
    pb::{self, ResetReason, Terminal, frame::Body},
};

pub(crate) fn hello() -> pb::Hello {
    pb::Hello {
        min_version: 1,
        max_version: 1,
        token: "header.claims.signature".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        client: "example/1.0".into(),
        cursors: Vec::new(),
        resumes: false,
    }
}

pub(crate) fn welcome() -> pb::Welcome {
    pb::Welcome {
        version: 1,
        user: "alice".into(),
        connection: 7,
        server_time_ms: NEW_YEAR_2026_MS as i64,
        heartbeat_ms: 30_000,
        limits: Some(pb::Limits { max_frame_bytes: 65_536, max_inflight_publishes: 64 }),
    }
}

pub(crate) fn device(terminal: Terminal, id: &str) -> pb::Device {
    pb::Device { terminal: terminal.into(), id: id.into() }
}

pub(crate) fn cursor(channel: &str, seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: channel.into(), seq, id }
}

pub(crate) fn inbox_42() -> pb::Cursor {
    cursor("", 42, message_id())
}

pub(crate) fn cursors() -> Vec<pb::Cursor> {
    vec![inbox_42(), cursor("team", 7, message_id())]
}

pub(crate) fn sync_done(ends: Vec<pb::Cursor>) -> pb::SyncDone {
    pb::SyncDone { ends, more: false }
}

pub(crate) fn reset(cursor: pb::Cursor, reason: ResetReason) -> Body {
    Body::Reset(pb::Reset { cursor: Some(cursor), reason: reason.into() })
}

/// The next id issued by the same node.
pub(crate) const NEXT_ID: u64 = 132_271_570_944_005_124;

pub(crate) const NEW_YEAR_2026_MS: u64 = 1_767_225_600_000;

pub(crate) fn message_id() -> u64 {
    MessageId::from_parts(NEW_YEAR_2026_MS, NodeId::new(5).unwrap(), 3).as_u64()
}
