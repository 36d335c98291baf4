-- How often what a comment was answered turned out otherwise since it was said: it is to be said again.
alter table comments add column amended BIGINT not null default 0;

-- When a reply was begun of which it is not known whether GitHub has it; null if there is none such.
alter table comments add column replying_at BIGINT;
-- It was always looked for before.
update comments set replying_at = seen_at where settled = 0 and reply is null;

-- How often it was tried in vain to say it again, and when it is tried next.
alter table comments add column amend_tries BIGINT not null default 0;
alter table comments add column amend_due BIGINT not null default 0;
create index comments_amended on comments (amend_due) where amended > 0;
