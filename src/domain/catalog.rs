//! The connectors of a repository at one commit.
