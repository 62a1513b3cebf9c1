use super::coded::coded;

coded! {
    /// How a device is keyed.
    Mode {
        /// Its commands come under a key that it shares with the server.
        Symmetric = 0, "symmetric";
        /// It signs, and its commands come under a key agreed with the server's.
        PublicKey = 1, "public-key";
    }
}

coded! {
    /// Where a device stands in its life.
    Status {
        /// Its key is known; it was never heard.
        Enrolled = 0, "enrolled";
        /// It was heard.
        Active = 1, "active";
        /// It is out for ever: its id is never used again.
        Withdrawn = 2, "withdrawn";
    }
}
