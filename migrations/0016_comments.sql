-- What people said in a repository is looked at from here on, by GitHub's clock: all that was written
-- before has been seen. Absent before the first look.
alter table repositories add column comments_read_to BIGINT;
