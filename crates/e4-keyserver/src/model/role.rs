use super::coded::coded;

coded! {
    /// What somebody may do with the server.
    Role {
        /// Looks.
        Viewer = 0, "viewer";
        /// Adds devices, and looks.
        Enroller = 1, "enroller";
        /// Changes devices, groups, topics and access, rotates and withdraws; and what an enroller may.
        Operator = 2, "operator";
        /// Tokens and settings; and what an operator may.
        Administrator = 3, "administrator";
        /// Reads payloads, which nobody else may; nothing more.
        PayloadReader = 4, "payload reader";
    }
}

impl Role {
    /// Whether somebody of this role may do what another role is for.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        match self {
            Self::PayloadReader => matches!(other, Self::PayloadReader),
            Self::Administrator => !matches!(other, Self::PayloadReader),
            Self::Operator => matches!(other, Self::Operator | Self::Enroller | Self::Viewer),
            Self::Enroller => matches!(other, Self::Enroller | Self::Viewer),
            Self::Viewer => matches!(other, Self::Viewer),
        }
    }
}
