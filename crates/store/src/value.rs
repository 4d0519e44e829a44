//! Values on their way to and from the database, the same for both engines.

use allclear_domain::Timestamp;

use crate::StoreError;

/// A value of a row or a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// BIGINT or INTEGER.
    Int(i64),
    /// TEXT; our own words only, never foreign bytes.
    Text(String),
    /// BYTEA or BLOB.
    Blob(Vec<u8>),
}

macro_rules! from {
    ($($type:ty => |$value:ident| $make:expr),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $make
            }
        }
    )*};
}

from! {
    i64 => |v| Self::Int(v),
    u32 => |v| Self::Int(i64::from(v)),
    bool => |v| Self::Int(i64::from(v)),
    &str => |v| Self::Text(v.to_owned()),
    &String => |v| Self::Text(v.clone()),
    String => |v| Self::Text(v),
    Vec<u8> => |v| Self::Blob(v),
    Timestamp => |v| Self::Int(v.0),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Parameters of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::value::Value::from($value)),*] };
}
pub(crate) use params;

/// A row, read by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub(crate) Vec<Value>);

impl Row {
    fn at(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&Value::Null)
    }

    fn wrong(&self, index: usize, expected: &str) -> StoreError {
        StoreError::Fault { context: format!("column {index} is not {expected}"), source: None }
    }

    /// A whole number.
    ///
    /// # Errors
    /// Another type, or NULL.
    pub fn int(&self, index: usize) -> Result<i64, StoreError> {
        self.int_or_null(index)?.ok_or_else(|| self.wrong(index, "a number"))
    }

    /// A whole number or NULL.
    ///
    /// # Errors
    /// Another type.
    pub fn int_or_null(&self, index: usize) -> Result<Option<i64>, StoreError> {
        match self.at(index) {
            Value::Int(value) => Ok(Some(*value)),
            Value::Null => Ok(None),
            Value::Text(_) | Value::Blob(_) => Err(self.wrong(index, "a number")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// Another type, or NULL.
    pub fn text(&self, index: usize) -> Result<&str, StoreError> {
        self.text_or_null(index)?.ok_or_else(|| self.wrong(index, "a text"))
    }

    /// A text or NULL.
    ///
    /// # Errors
    /// Another type.
    pub fn text_or_null(&self, index: usize) -> Result<Option<&str>, StoreError> {
        match self.at(index) {
            Value::Text(value) => Ok(Some(value)),
            Value::Null => Ok(None),
            Value::Int(_) | Value::Blob(_) => Err(self.wrong(index, "a text")),
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// Another type, or NULL.
    pub fn blob(&self, index: usize) -> Result<&[u8], StoreError> {
        match self.at(index) {
            Value::Blob(bytes) => Ok(bytes),
            Value::Null | Value::Int(_) | Value::Text(_) => Err(self.wrong(index, "bytes")),
        }
    }

    /// An instant.
    ///
    /// # Errors
    /// Another type, or NULL.
    pub fn time(&self, index: usize) -> Result<Timestamp, StoreError> {
        self.int(index).map(Timestamp)
    }

    /// A value stored as JSON text.
    ///
    /// # Errors
    /// A text that does not decode.
    pub fn json<T: serde::de::DeserializeOwned>(&self, index: usize) -> Result<T, StoreError> {
        serde_json::from_str(self.text(index)?).map_err(|e| StoreError::fault(format!("column {index} does not decode"), e))
    }
}

/// A value as JSON text, for a column.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::fault("a value does not encode", e))
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

impl postgres::types::ToSql for Value {
    fn to_sql(
        &self,
        ty: &postgres::types::Type,
        out: &mut postgres::types::private::BytesMut,
    ) -> Result<postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(postgres::types::IsNull::Yes),
            Self::Int(value) if *ty == postgres::types::Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
            Self::Int(value) => value.to_sql(ty, out),
            Self::Text(value) => value.to_sql(ty, out),
            Self::Blob(value) => value.to_sql(ty, out),
        }
    }

    fn accepts(_ty: &postgres::types::Type) -> bool {
        true
    }

    postgres::types::to_sql_checked!();
}

impl<'a> postgres::types::FromSql<'a> for Value {
    fn from_sql(ty: &postgres::types::Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        use postgres::types::Type;
        match *ty {
            Type::INT8 => i64::from_sql(ty, raw).map(Self::Int),
            Type::INT4 => i32::from_sql(ty, raw).map(|v| Self::Int(i64::from(v))),
            Type::BYTEA => Vec::from_sql(ty, raw).map(Self::Blob),
            _ => String::from_sql(ty, raw).map(Self::Text),
        }
    }

    fn from_sql_null(_ty: &postgres::types::Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &postgres::types::Type) -> bool {
        use postgres::types::Type;
        matches!(*ty, Type::INT8 | Type::INT4 | Type::BYTEA | Type::TEXT | Type::VARCHAR | Type::NAME)
    }
}
