-- One set of statements for SQLite and PostgreSQL. Times are milliseconds since 1970, flags are 0 or 1.
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- For searches: the name in lower case.
    name_folded TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    avatar TEXT,
    -- Where one-time codes go: an e-mail address or a telephone number.
    address TEXT UNIQUE,
    language TEXT NOT NULL,
    -- NULL: nobody signs in with a password.
    password_hash TEXT,
    department TEXT,
    is_demo BIGINT NOT NULL DEFAULT 0,
    is_system BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);
CREATE INDEX users_name ON users (name_folded);
CREATE INDEX users_department ON users (department);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_name TEXT NOT NULL,
    -- The id of the device in the SDK, known after its first connection.
    im_device TEXT,
    access_hash TEXT NOT NULL UNIQUE,
    access_ends_at BIGINT NOT NULL,
    refresh_hash TEXT NOT NULL UNIQUE,
    rotated_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);

-- Refresh tokens that were replaced. One that is shown again was stolen, or is in the hands of a thief's victim.
CREATE TABLE used_refresh_tokens (
    hash TEXT PRIMARY KEY,
    session TEXT NOT NULL,
    used_at BIGINT NOT NULL
);
CREATE INDEX used_refresh_tokens_session ON used_refresh_tokens (session);

CREATE TABLE login_codes (
    address TEXT PRIMARY KEY,
    code_hash TEXT NOT NULL,
    guesses BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);

-- Attempts within a window of time, such as sign-ins of an account or codes to an address.
CREATE TABLE attempts (
    what TEXT PRIMARY KEY,
    count BIGINT NOT NULL,
    window_ends_at BIGINT NOT NULL
);

CREATE TABLE role_permissions (
    role TEXT NOT NULL,
    permission TEXT NOT NULL,
    PRIMARY KEY (role, permission)
);
INSERT INTO role_permissions (role, permission) VALUES
    ('administrator', 'roles.manage'),
    ('administrator', 'users.manage'),
    ('administrator', 'departments.manage'),
    ('administrator', 'groups.manage'),
    ('administrator', 'messages.recall'),
    ('administrator', 'audit.read'),
    ('moderator', 'messages.recall'),
    ('moderator', 'groups.manage');

CREATE TABLE user_roles (
    user_id TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (user_id, role)
);

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at, id);

INSERT INTO users (id, name, name_folded, about, language, is_system, created_at)
VALUES ('workspace', 'Workspace', 'workspace', '', 'en', 1, 0);
