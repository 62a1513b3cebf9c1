//! The fleet file: which devices there are, and the keys that commands to them are sealed with.
//!
//! ```toml
//! c2_key_file = "c2.key"                  # X25519; for devices in public-key mode
//!
//! [devices.pump-7]
//! mode = "symmetric"
//! key_file = "pump-7.key"                 # the client key
//! writes = ["plant/7/pump/#"]             # where it publishes, if that is known
//!
//! [devices.panel-1]
//! mode = "public-key"
//! public_key_file = "panel-1.key.pub"     # Ed25519
//! groups = ["panels"]
//! id = "00112233445566778899aabbccddeeff" # unless the id follows from the name
//! writes = []
//!
//! [topics."plant/7/pump"]                 # for `e4 control status`
//! key_file = "pump.key"
//! to = ["pump-7"]                         # who is to have the key; without these two, all
//! groups = ["panels"]
//! ```
//!
//! Paths are relative to the file. No two devices have the same key: whoever can publish could pass a command for one on to
//! the other.

mod device;
mod distinct;
mod file;
mod lanes;
mod lock;
mod members;
mod topics;
mod writes;

pub(crate) use device::{Device, DeviceKey};
pub(crate) use distinct::NewKey;
pub(crate) use lanes::{CommandsFor, Lanes};
pub(crate) use members::{Fleet, Whom};
pub(crate) use topics::WantedTopic;
