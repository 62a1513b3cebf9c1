//! How orders go on.

use super::{Advanced, Fleet, Refusal};

impl Fleet {
    /// Has orders go on as far as they can now. To be called every second or so, and after reports.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn advance(&self) -> Result<Advanced, Refusal> {
        let begun = self.begin_waiting().await?;
        Ok(Advanced { waits: false, due: begun > 0 })
    }
}
