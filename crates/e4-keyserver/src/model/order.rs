use super::coded::coded;

coded! {
    /// What an order is about.
    OrderKind {
        /// A topic gets a new key.
        RotateTopic = 0, "rotate topic";
        /// A device is out, and all that it could read gets new keys.
        Withdraw = 1, "withdraw";
        /// Devices get new keys of their own.
        RotateClientKeys = 2, "rotate client keys";
        /// The server gets a new key pair.
        RotateServerKey = 3, "rotate server key";
    }
}

coded! {
    /// How a topic gets a new key.
    RotationKind {
        /// In two phases: nobody misses a message.
        Lossless = 0, "lossless";
        /// At once; the key before opens for an hour more.
        Soft = 1, "soft";
        /// At once, and the key before opens nothing any more.
        Hard = 2, "hard";
    }
}

coded! {
    /// Where an order stands.
    OrderState {
        /// Another order on the same topic goes first.
        Waiting = 0, "waiting";
        /// First phase of a lossless rotation: members get the next key.
        Preparing = 1, "preparing";
        /// Members get the key to seal under.
        Switching = 2, "switching";
        /// All members that are waited for have confirmed it.
        Done = 3, "done";
        /// The policy's time is over; some have not confirmed it.
        GivenUp = 4, "given up";
        /// Somebody cancelled it before anything was sent that cannot be taken back.
        Cancelled = 5, "cancelled";
        /// A later order does its work.
        Overtaken = 6, "overtaken";
    }
}

impl OrderState {
    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::GivenUp | Self::Cancelled | Self::Overtaken)
    }
}
