//! What the tests stand on: databases and brokers of their own.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod database;
#[path = "../../src/program/demo/device.rs"]
pub(crate) mod device;
pub(crate) mod mosquitto;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod recorder;
