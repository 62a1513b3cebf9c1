use super::coded::coded;

coded! {
    /// What a key version is for.
    KeyRole {
        /// Members open under it already; nobody seals under it yet.
        Next = 0, "next";
        /// Members seal under it.
        Current = 1, "current";
        /// It was current or next once.
        Retired = 2, "retired";
    }
}

coded! {
    /// Why a key version was made.
    Reason {
        /// The topic is new.
        New = 0, "new topic";
        /// Somebody asked for it.
        Asked = 1, "asked for";
        /// Somebody lost access.
        Left = 2, "member left";
        /// A device that could read it was withdrawn.
        Withdrawn = 3, "device withdrawn";
        /// Somebody was given access, and is not to read what came before.
        Joined = 4, "member joined";
        /// A rule or a schedule.
        Rule = 5, "rule";
        /// It was in use before this server.
        Imported = 6, "imported";
    }
}
