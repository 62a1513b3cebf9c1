//! The key server of E4: says who may read and write which topics of a fleet, makes it true on every device, and shows at any
//! moment how far it is from true.
//!
//! Layers only look down: a module knows those above it in this list.
//!
//! | layer | module | what is in it |
//! |---|---|---|
//! | words | [`model`] | devices, topics, access, groups, key versions, orders, roles: values without behaviour |
//! | what to send | [`plan`] | what a device should hold, and the shortest commands to get it there: pure |
//! | secrets | [`vault`] | the root key and its slots, sealing of each secret to its place, new keys, fingerprints |
//! | storage | [`store`] | one schema and its statements, on SQLite and on PostgreSQL |
//! | intentions | [`fleet`] | each change of intention as one transaction; a device's next commands; what a report means |
//! | upkeep | [`upkeep`] | the data as a whole: a new server, a new root key, checks, backups, copies |
//! | the broker | [`deliver`] | leases, what goes out, what is heard |
//! | interfaces | [`api`] | HTTP |
//!
//! Time, randomness and the network are arguments, so that a test can own them.

pub mod api;
pub mod deliver;
pub mod fleet;
pub mod model;
pub mod plan;
pub mod store;
pub mod upkeep;
pub mod vault;
