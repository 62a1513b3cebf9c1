//! The HTTP interface: who may what, and what is answered.

mod bodies;
mod import;
mod listen;
mod lists;
mod log;
mod once;
mod revisions;
mod roles;
mod server;
mod world;
