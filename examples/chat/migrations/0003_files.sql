CREATE TABLE files (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    received BIGINT NOT NULL DEFAULT 0,
    is_complete BIGINT NOT NULL DEFAULT 0,
    width BIGINT,
    height BIGINT,
    has_thumbnail BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);
CREATE INDEX files_owner ON files (owner);
CREATE INDEX files_unfinished ON files (is_complete, created_at);

-- Who may read a file beside its owner. The conversation is `c:<channel>`, or `u:<user>` for each of two users; a profile's or a
-- group's picture is for everybody: `*`.
CREATE TABLE file_grants (
    file_id TEXT NOT NULL,
    reader TEXT NOT NULL,
    PRIMARY KEY (file_id, reader)
);
