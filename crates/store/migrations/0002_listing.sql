-- Indexes that keep every list, filter and sweep constant in time, however many rows the tables hold.

CREATE INDEX resources_listed ON resources (key) WHERE listed = 1;

CREATE INDEX resources_by_name ON resources (name_key, key);

CREATE INDEX resource_tags_by_name ON resource_tags (name_key, key);

CREATE INDEX resource_tags_by_value ON resource_tags (name_key, value, key);

CREATE INDEX records_by_owner ON records (kind, owner, key);

CREATE INDEX records_by_expiry ON records (expires) WHERE expires IS NOT NULL;

CREATE INDEX operations_unfinished ON operations (created) WHERE status NOT IN ('Succeeded', 'Failed', 'Canceled');
