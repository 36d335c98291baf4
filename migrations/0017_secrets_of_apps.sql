-- Whose each secret of the webhook is: the App's that was registered here, or (null) that of the
-- settings. Only those of the App that is now count.
alter table webhook_secrets add column app_id TEXT;
-- What was kept before the App was registered is another one's.
update webhook_secrets set app_id =
    (select app_id from apps where apps.since <= webhook_secrets.since + 10000);

-- Secrets that stood in the settings of a server while this App was being registered: they are not its
-- own, and do not count for as long as it is the App.
create table foreign_secrets (
    -- A keyed digest.
    mark TEXT not null,
    app_id TEXT not null,
    primary key (mark, app_id)
);

-- Secrets of the settings that servers accept, as they say themselves: a rotation retires them, whoever
-- carries it out.
create table given_secrets (
    -- A keyed digest.
    mark TEXT primary key,
    which TEXT not null check (which in ('current', 'next')),
    said_at BIGINT not null
);
