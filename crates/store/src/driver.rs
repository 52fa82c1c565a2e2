//! What both databases have in common in the driver: arguments in, rows out.

use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Decode, Encode, IntoArguments, Type, TypeInfo as _, ValueRef as _};

use crate::engine::{Row, Statement, Value};
use crate::error::StoreError;

/// A statement as the driver takes it.
pub(crate) fn query<D: Database>(statement: Statement) -> Result<Query<'static, D, D::Arguments>, StoreError>
where
    D::Arguments: IntoArguments<D>,
    Option<i64>: Encode<'static, D> + Type<D>,
    Option<String>: Encode<'static, D> + Type<D>,
    Option<Vec<u8>>: Encode<'static, D> + Type<D>,
{
    statement.check()?;
    // `Statement` puts every value into an argument.
    let query = sqlx::query(AssertSqlSafe(statement.text));
    Ok(statement.arguments.into_iter().fold(query, |query, argument| match argument {
        Value::Integer(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    }))
}

/// Rows as the driver brings them.
pub(crate) fn rows<R: sqlx::Row>(rows: &[R]) -> Result<Vec<Row>, StoreError>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> Option<i64>: Decode<'r, R::Database>,
    for<'r> Option<String>: Decode<'r, R::Database>,
    for<'r> Option<Vec<u8>>: Decode<'r, R::Database>,
{
    let value = |row: &R, index| -> Result<Value, sqlx::Error> {
        let raw = row.try_get_raw(index)?;
        let kind = raw.type_info().into_owned();
        Ok(match kind.name() {
            _ if raw.is_null() => Value::Text(None),
            "INTEGER" | "INT4" | "INT8" => Value::Integer(row.try_get_unchecked(index)?),
            "BLOB" | "BYTEA" => Value::Bytes(row.try_get_unchecked(index)?),
            _ => Value::Text(row.try_get_unchecked(index)?),
        })
    };
    let row = |row: &R| (0..row.len()).map(|index| value(row, index)).collect::<Result<_, _>>().map(Row::new);
    rows.iter().map(row).collect::<Result<_, _>>().map_err(|error| StoreError::Corrupt(error.to_string()))
}
