//! What is done to a server's data as a whole: to found it, to open and to change its vault, to examine, back up, restore and
//! copy it.

mod backup;
mod cell;
mod check;
mod copy;
mod error;
mod examine;
mod found;
mod keys;
mod lines;
mod rekey;
mod rows;
mod tables;

pub use backup::{Restored, create_backup, restore_backup, verify_backup};
pub use check::check;
pub use copy::copy;
pub use error::UpkeepError;
pub use examine::Findings;
pub use found::found;
pub use keys::{add_slot, has_vault, load_slots, load_stored, remove_slot};
pub use rekey::{Progress, begin_rekey, continue_rekey};
