//! Changes of intention: what they do to the database, and what is refused.

mod access;
mod audit;
mod devices;
mod held;
mod invitations;
mod once;
mod rotate;
mod tokens;
mod withdraw;
mod world;
