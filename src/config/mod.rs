//! Configuration: the server's settings, and the repository file with its presets.

pub mod duration;
pub mod grants;
pub mod repository;
pub mod served;
pub mod server;
pub mod size;
