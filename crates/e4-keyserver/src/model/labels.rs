use std::{collections::BTreeMap, fmt};

/// Names and values that a person gives a device: `site=basel`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The longest name or value, in bytes.
    pub const MAX_LEN: usize = 128;
    /// How many labels a device has at most.
    pub const MAX: usize = 64;

    /// Checks names and values.
    ///
    /// # Errors
    ///
    /// [`LabelError`].
    pub fn new(labels: impl IntoIterator<Item = (String, String)>) -> Result<Self, LabelError> {
        let labels: BTreeMap<_, _> = labels.into_iter().collect();
        if labels.len() > Self::MAX {
            return Err(LabelError::TooMany);
        }
        for (name, value) in &labels {
            check(name, false)?;
            check(value, true)?;
        }
        Ok(Self(labels))
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn check(text: &str, may_be_empty: bool) -> Result<(), LabelError> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | ' ' | '@');
    if (text.is_empty() && !may_be_empty) || text.len() > Labels::MAX_LEN || !text.chars().all(is_plain) {
        return Err(LabelError::Text(text.chars().take(40).collect()));
    }
    Ok(())
}

/// Which devices are in a group by themselves: those that have all of these labels. Written `site=basel,kind=panel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Labels);

impl Selector {
    /// Reads `name=value,name=value`.
    ///
    /// # Errors
    ///
    /// [`LabelError`].
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let pairs: Result<Vec<_>, _> = text
            .split(',')
            .map(|pair| pair.split_once('=').ok_or_else(|| LabelError::Text(pair.chars().take(40).collect())))
            .map(|pair| pair.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
            .collect();
        Ok(Self(Labels::new(pairs?)?))
    }

    /// The labels that they all have.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.0
    }

    /// Whether a device with these labels is one of them.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// What is wrong with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelError {
    /// This is none.
    Text(String),
    /// More than [`Labels::MAX`].
    TooMany,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(
                f,
                "{text:?} is no label: write name=value, each of at most {} bytes, with letters, digits, spaces and - _ . / : @",
                Labels::MAX_LEN
            ),
            Self::TooMany => write!(f, "a device has at most {} labels", Labels::MAX),
        }
    }
}

impl std::error::Error for LabelError {}
