//! Git: a bare cache per repository, fetch, merge base, diff, trees, source archives.
