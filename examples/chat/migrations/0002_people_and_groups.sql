-- Two rows for each friendship.
CREATE TABLE friends (
    user_id TEXT NOT NULL,
    friend_id TEXT NOT NULL,
    remark TEXT NOT NULL DEFAULT '',
    since_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, friend_id)
);
CREATE TABLE friend_requests (
    from_id TEXT NOT NULL,
    to_id TEXT NOT NULL,
    text TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (from_id, to_id)
);
CREATE INDEX friend_requests_to ON friend_requests (to_id);
CREATE TABLE blocks (
    user_id TEXT NOT NULL,
    blocked_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (user_id, blocked_id)
);

-- The id is that of the SDK's channel.
CREATE TABLE chat_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    announcement TEXT NOT NULL DEFAULT '',
    avatar TEXT,
    owner TEXT NOT NULL,
    joining TEXT NOT NULL,
    link TEXT UNIQUE,
    all_muted BIGINT NOT NULL DEFAULT 0,
    department TEXT,
    member_count BIGINT NOT NULL DEFAULT 0,
    -- Dissolved, and about to be deleted.
    is_dissolved BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);
CREATE INDEX chat_groups_name ON chat_groups (name_folded);
CREATE TABLE group_members (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT NOT NULL,
    nickname TEXT NOT NULL DEFAULT '',
    -- What this member calls the group.
    remark TEXT NOT NULL DEFAULT '',
    muted_until_at BIGINT,
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);
CREATE TABLE group_requests (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    text TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);

CREATE TABLE departments (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    parent TEXT,
    group_id TEXT NOT NULL UNIQUE
);
CREATE INDEX departments_parent ON departments (parent);

CREATE TABLE rooms (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL
);
INSERT INTO rooms (id, title) VALUES ('live-stage', 'The stage');

-- What a transaction causes in the SDK, carried out after its commit: in order, and again until it is done.
CREATE TABLE outbox (
    id BIGINT PRIMARY KEY,
    effect TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The backend that carries out the effects, one at a time.
CREATE TABLE outbox_lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    ends_at BIGINT NOT NULL
);
