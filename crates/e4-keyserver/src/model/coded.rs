//! Enumerations that are stored as numbers and written as words.

/// An enumeration whose values each have a number, which is stored, and a word, which the API and the command line use.
macro_rules! coded {
    ($(#[$about:meta])* $name:ident { $($(#[$means:meta])* $variant:ident = $code:literal, $word:literal;)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$means])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$variant),*];

            /// The number that is stored.
            #[must_use]
            pub const fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// From the number that is stored.
            #[must_use]
            pub fn from_code(code: i64) -> Option<Self> {
                Self::ALL.into_iter().find(|it| it.code() == code)
            }

            /// As it is written in the API and on the command line.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// From its word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|it| it.word() == word)
            }
        }
    };
}

pub(super) use coded;
