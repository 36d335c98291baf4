-- Claims are fair between runs: which of them have jobs that wait, and how many of theirs run.
create index jobs_waiting on jobs (run_id, priority, created_at) where state = 'queued';
create index jobs_held on jobs (run_id) where state = 'running';
