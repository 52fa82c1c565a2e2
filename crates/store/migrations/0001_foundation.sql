-- The tables. {text} is text that compares byte by byte, {bytes} a byte string; times are microseconds since 1970.
-- Statements end with a semicolon at the end of a line.

CREATE TABLE meta (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    schema_version BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    access_epoch BIGINT NOT NULL,
    audit_seq BIGINT NOT NULL,
    audit_hash {text} NOT NULL
);

INSERT INTO meta (id, schema_version, revision, access_epoch, audit_seq, audit_hash) VALUES (1, 0, 0, 0, 0, '');

CREATE TABLE resources (
    key {text} NOT NULL PRIMARY KEY,
    id {text} NOT NULL,
    type_name {text} NOT NULL,
    type_key {text} NOT NULL,
    name_key {text} NOT NULL,
    incarnation {text} NOT NULL,
    revision BIGINT NOT NULL,
    etag {text} NOT NULL,
    listed BIGINT NOT NULL,
    tags {text} NOT NULL,
    body {text} NOT NULL,
    created_revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by {text} NOT NULL,
    created_by_type {text} NOT NULL,
    changed_at BIGINT NOT NULL,
    changed_by {text} NOT NULL,
    changed_by_type {text} NOT NULL
);

CREATE INDEX resources_by_type ON resources (type_key, key);

CREATE TABLE resource_tags (
    key {text} NOT NULL REFERENCES resources (key) ON DELETE CASCADE,
    name_key {text} NOT NULL,
    name {text} NOT NULL,
    value {text} NOT NULL,
    PRIMARY KEY (key, name_key)
);

CREATE TABLE records (
    kind {text} NOT NULL,
    key {text} NOT NULL,
    owner {text},
    body {text} NOT NULL,
    expires BIGINT,
    revision BIGINT NOT NULL,
    PRIMARY KEY (kind, key)
);

CREATE TABLE operations (
    id {text} NOT NULL PRIMARY KEY,
    kind {text} NOT NULL,
    scope {text} NOT NULL,
    status {text} NOT NULL,
    principal {text} NOT NULL,
    body {text} NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL
);

CREATE TABLE secrets (
    incarnation {text} NOT NULL,
    field {text} NOT NULL,
    sealed {bytes} NOT NULL,
    PRIMARY KEY (incarnation, field)
);

CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    prev_hash {text} NOT NULL,
    hash {text} NOT NULL,
    record {text} NOT NULL
);
