//! Values on their way to and from PostgreSQL.

use crate::store::{Row, Value};
use bytes::BytesMut;
use std::{error::Error, fmt};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

type Failed = Box<dyn Error + Sync + Send>;

/// A value and a column that are not of one type.
#[derive(Debug)]
pub(super) struct Unfit(Type);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a statement has a value that is no {}", self.0)
    }
}

impl Error for Unfit {}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Self::Int(value), &Type::INT4) => i32::try_from(*value).map_err(|_| Unfit(ty.clone()))?.to_sql(ty, out),
            (Self::Text(value), &Type::TEXT) => value.to_sql(ty, out),
            (Self::Bytes(value), &Type::BYTEA) => value.to_sql(ty, out),
            (Self::List(values), &Type::INT8_ARRAY) => list(values, ty, out, |value| match value {
                Self::Int(value) => Some(*value),
                _ => None,
            }),
            (Self::List(values), &Type::TEXT_ARRAY) => list(values, ty, out, |value| match value {
                Self::Text(value) => Some(value.as_str()),
                _ => None,
            }),
            (Self::List(values), &Type::BYTEA_ARRAY) => list(values, ty, out, |value| match value {
                Self::Bytes(value) => Some(value.as_slice()),
                _ => None,
            }),
            _ => Err(Unfit(ty.clone()).into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn list<'v, T: ToSql>(
    values: &'v [Value],
    ty: &Type,
    out: &mut BytesMut,
    as_one: impl Fn(&'v Value) -> Option<T>,
) -> Result<IsNull, Failed> {
    let values: Option<Vec<T>> = values.iter().map(as_one).collect();
    values.ok_or_else(|| Unfit(ty.clone()))?.to_sql(ty, out)
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failed> {
        match *ty {
            Type::INT8 => i64::from_sql(ty, raw).map(Self::Int),
            Type::INT4 => i32::from_sql(ty, raw).map(|value| Self::Int(value.into())),
            Type::BOOL => bool::from_sql(ty, raw).map(|value| Self::Int(value.into())),
            Type::TEXT => String::from_sql(ty, raw).map(Self::Text),
            Type::BYTEA => Vec::<u8>::from_sql(ty, raw).map(Self::Bytes),
            _ => Err(Unfit(ty.clone()).into()),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failed> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

pub(super) fn read(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    (0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>().map(Row::new)
}
