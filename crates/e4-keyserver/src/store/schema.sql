-- All numbers of seconds are Unix time. What is sealed is bound to table, column, row and version (vault).

CREATE TABLE meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL);

-- The next number of each kind: orders, topics, groups, audit entries.
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);

-- The root key, wrapped once per slot.
CREATE TABLE slots (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, parameters TEXT NOT NULL, wrapped BYTEA NOT NULL, created BIGINT NOT NULL
);

-- The server's own X25519 pairs. role: 0 next, 1 current, 2 retired.
CREATE TABLE server_keys (
    version BIGINT PRIMARY KEY, role BIGINT NOT NULL, public BYTEA NOT NULL, secret BYTEA, created BIGINT NOT NULL
);

CREATE TABLE devices (
    id BYTEA PRIMARY KEY,
    slice BIGINT NOT NULL,
    name TEXT UNIQUE,
    mode BIGINT NOT NULL,
    status BIGINT NOT NULL,
    labels TEXT NOT NULL,
    notes TEXT NOT NULL,
    created BIGINT NOT NULL,
    withdrawn BIGINT,
    revision BIGINT NOT NULL,
    -- Its own key: symmetric, the client key; public-key, the control key under server key `server_key`.
    key_version BIGINT NOT NULL,
    secret BYTEA,
    public_key BYTEA,
    server_key BIGINT,
    -- A key that it is being moved to; reports come under either.
    next_secret BYTEA,
    next_public_key BYTEA,
    next_server_key BIGINT,
    next_since BIGINT,
    client_key_since BIGINT NOT NULL,
    -- When a topic key was last sealed under its present key; null: none was, so that whoever learns it learns nothing by it.
    keyed BIGINT,
    -- Its lane.
    lane_last BIGINT NOT NULL,
    lane_used BIGINT NOT NULL,
    -- Its last accepted report: place in the order, when it came, and what it said (JSON).
    report_newest BIGINT NOT NULL,
    report_sent BIGINT NOT NULL,
    reported BIGINT,
    report TEXT,
    -- What it holds as far as is known, by key versions, with older states to recognise (JSON); null: not known.
    held TEXT,
    -- Where it stands (a word), since when; when it last held what it should.
    standing TEXT NOT NULL,
    standing_since BIGINT NOT NULL,
    confirmed BIGINT,
    -- When the planner is to look at it next; null: not by itself. How often the same was sent.
    due BIGINT,
    attempts BIGINT NOT NULL
);
-- With the id, so that those that are due together are looked at in the order in which they lie.
CREATE INDEX devices_due ON devices (due, id) WHERE due IS NOT NULL;
CREATE INDEX devices_standing ON devices (standing, id);

-- No two secrets of the fleet are equal: keyed fingerprints of client keys, server keys and topic keys.
CREATE TABLE fingerprints (fingerprint BYTEA PRIMARY KEY, owner TEXT NOT NULL);

-- What a device was sealed and has not confirmed, in the order of its lane. `bytes` is null once it must not be sent again.
CREATE TABLE outbox (
    device BYTEA NOT NULL,
    position BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    v BYTEA NOT NULL,
    bytes BYTEA,
    step TEXT NOT NULL,
    handed BIGINT,
    answer TEXT,
    PRIMARY KEY (device, position)
);

CREATE TABLE topics (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash BYTEA NOT NULL UNIQUE,
    policy TEXT NOT NULL,
    notes TEXT NOT NULL,
    created BIGINT NOT NULL,
    removed BIGINT,
    revision BIGINT NOT NULL
);

-- `cut`: a member that holds a version below it gets the current one as a hard rotation. `secret` is null once erased.
CREATE TABLE key_versions (
    topic BIGINT NOT NULL,
    version BIGINT NOT NULL,
    role BIGINT NOT NULL,
    created BIGINT NOT NULL,
    role_since BIGINT NOT NULL,
    reason BIGINT NOT NULL,
    cut BIGINT NOT NULL,
    secret BYTEA,
    fingerprint BYTEA NOT NULL,
    PRIMARY KEY (topic, version)
);

CREATE TABLE groups (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    selector TEXT,
    policy TEXT NOT NULL,
    created BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE TABLE members (grp BIGINT NOT NULL, device BYTEA NOT NULL, PRIMARY KEY (grp, device));
CREATE INDEX members_device ON members (device, grp);

CREATE TABLE device_access (topic BIGINT NOT NULL, device BYTEA NOT NULL, access BIGINT NOT NULL, PRIMARY KEY (topic, device));
CREATE INDEX device_access_device ON device_access (device, topic);
CREATE TABLE group_access (topic BIGINT NOT NULL, grp BIGINT NOT NULL, access BIGINT NOT NULL, PRIMARY KEY (topic, grp));
CREATE INDEX group_access_group ON group_access (grp, topic);

CREATE TABLE orders (
    id BIGINT PRIMARY KEY,
    kind BIGINT NOT NULL,
    state BIGINT NOT NULL,
    topic BIGINT,
    device BYTEA,
    rotation BIGINT,
    version BIGINT,
    reason BIGINT NOT NULL,
    asked_by TEXT NOT NULL,
    created BIGINT NOT NULL,
    phase_since BIGINT NOT NULL,
    ended BIGINT,
    detail TEXT NOT NULL
);
CREATE INDEX orders_open ON orders (state, id);
CREATE INDEX orders_topic ON orders (topic, id);

CREATE TABLE tokens (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash BYTEA NOT NULL UNIQUE,
    role BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    used BIGINT
);

-- Bundles to be fetched once, and tokens with which a device registers its own public key.
CREATE TABLE invitations (
    hash BYTEA PRIMARY KEY, kind TEXT NOT NULL, device BYTEA, secret BYTEA, detail TEXT NOT NULL, created BIGINT NOT NULL,
    expires BIGINT NOT NULL, used BIGINT
);

CREATE TABLE idempotency (
    principal TEXT NOT NULL, name TEXT NOT NULL, request BYTEA NOT NULL, status BIGINT, answer TEXT, created BIGINT NOT NULL,
    PRIMARY KEY (principal, name)
);

CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    mac BYTEA NOT NULL
);
-- Where the chain of digests stood after an entry, signed: what is exported is verified with the public key alone.
CREATE TABLE checkpoints (audit BIGINT PRIMARY KEY, at BIGINT NOT NULL, digest BYTEA NOT NULL, signature BYTEA NOT NULL);

-- Who delivers to which devices; `fence` grows with each change of hands.
CREATE TABLE leases (slice BIGINT PRIMARY KEY, holder TEXT NOT NULL, fence BIGINT NOT NULL, expires BIGINT NOT NULL);
