//! What goes into statements and comes out of them.

use super::{StoreError, StoreErrorKind};

/// What is bound to a statement, or read from a column.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// `BIGINT`
    Int(i64),
    /// `TEXT`
    Text(String),
    /// `BYTEA`
    Bytes(Vec<u8>),
    /// For `= ANY($1)`: values of one type.
    List(Vec<Self>),
}

impl Value {
    /// For `= ANY($1)`.
    pub fn list<T: Into<Self>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of an answer: values by their place in the statement, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    values: Vec<Value>,
}

impl Row {
    pub(super) const fn new(values: Vec<Value>) -> Self {
        Self { values }
    }

    /// All of it.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// All of it.
    #[must_use]
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }

    fn at(&self, column: usize) -> Result<&Value, StoreError> {
        self.values.get(column).ok_or_else(|| wrong(column, "is not there"))
    }

    /// A number.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`]: it is none; likewise below.
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or_else(|| wrong(column, "is empty"))
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`].
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.opt_text(column)?.ok_or_else(|| wrong(column, "is empty"))
    }

    /// Bytes.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`].
    pub fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        self.opt_bytes(column)?.ok_or_else(|| wrong(column, "is empty"))
    }

    /// So many bytes.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`].
    pub fn array<const N: usize>(&self, column: usize) -> Result<[u8; N], StoreError> {
        self.bytes(column)?.try_into().map_err(|_| wrong(column, &format!("is not of {N} bytes")))
    }

    /// A version, which is a number of 32 bits.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`].
    pub fn version(&self, column: usize) -> Result<u32, StoreError> {
        u32::try_from(self.int(column)?).map_err(|_| wrong(column, "is no version"))
    }

    /// A number, or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`].
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(*value)),
            _ => Err(wrong(column, "is no number")),
        }
    }

    /// A text, or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`].
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            _ => Err(wrong(column, "is no text")),
        }
    }

    /// Bytes, or nothing.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Wrong`].
    pub fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            Value::Bytes(value) => Ok(Some(value)),
            _ => Err(wrong(column, "is no bytes")),
        }
    }
}

fn wrong(column: usize, what: &str) -> StoreError {
    StoreErrorKind::Wrong.because(format!("the database answered what was not asked for: column {column} {what}"))
}
