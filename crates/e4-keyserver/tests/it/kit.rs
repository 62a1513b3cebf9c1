//! What the tests stand on: databases and brokers of their own.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod database;
pub(crate) mod mosquitto;
pub(crate) mod postgres;
