//! Conditions that the store can check itself: `column <op> literal`.
//!
//! Always as a help only: DataFusion checks the rows again, so that both stores answer alike. Order comparisons of text
//! stay here, because a database's collation may order otherwise.

use chrono::DateTime;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::source::Arg;
use crate::tables::{Kind, Table};

/// `column op` and the value, if the store can check `filter`.
pub(crate) fn push(table: &Table, filter: &Expr) -> Option<(String, Arg)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return None;
    };
    let (column, op, literal) = match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(literal, _)) => (column, *op, literal),
        (Expr::Literal(literal, _), Expr::Column(column)) => (column, op.swap()?, literal),
        _ => return None,
    };
    let (name, kind) = table.columns.iter().find(|(name, _)| *name == column.name)?;
    let arg = argument(*kind, literal)?;
    let sign = match (op, kind) {
        (Operator::Eq, _) => "=",
        (Operator::Lt, Kind::Int | Kind::Time) => "<",
        (Operator::LtEq, Kind::Int | Kind::Time) => "<=",
        (Operator::Gt, Kind::Int | Kind::Time) => ">",
        (Operator::GtEq, Kind::Int | Kind::Time) => ">=",
        _ => return None,
    };
    Some((format!("{name} {sign}"), arg))
}

fn argument(kind: Kind, literal: &ScalarValue) -> Option<Arg> {
    match (kind, literal) {
        (Kind::Uuid, ScalarValue::Utf8(Some(text))) => text.parse().ok().map(Arg::Uuid),
        // A NUL is never in the store, and PostgreSQL would refuse the question.
        (Kind::Text, ScalarValue::Utf8(Some(text))) if !text.contains('\0') => Some(Arg::Text(text.clone())),
        (Kind::Int, ScalarValue::Int64(Some(number))) => Some(Arg::Int(*number)),
        (Kind::Bool, ScalarValue::Boolean(Some(yes))) => Some(Arg::Bool(*yes)),
        (Kind::Time, ScalarValue::TimestampMicrosecond(Some(micros), _)) => {
            let at = DateTime::from_timestamp_micros(*micros)?;
            // Beyond these years text does not sort as time does.
            (0..=9999)
                .contains(&chrono::Datelike::year(&at))
                .then_some(Arg::Time(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::TABLES;
    use datafusion::logical_expr::{col, lit};

    #[test]
    fn what_the_store_checks() {
        let incidents = &TABLES[0];
        let check = |filter: Expr, expected: Option<(&str, Arg)>| {
            assert_eq!(
                push(incidents, &filter),
                expected.map(|(sql, arg)| (sql.to_owned(), arg)),
                "{filter}"
            );
        };
        check(
            col("severity").eq(lit("critical")),
            Some(("severity =", Arg::Text("critical".into()))),
        );
        check(lit(3_i64).lt(col("members")), Some(("members >", Arg::Int(3))));
        let at = ScalarValue::TimestampMicrosecond(Some(0), Some("+00:00".into()));
        check(
            col("created_at").gt_eq(lit(at)),
            Some(("created_at >=", Arg::Time(DateTime::UNIX_EPOCH))),
        );
        check(col("severity").lt(lit("x")), None);
        check(col("id").eq(lit("not a uuid")), None);
        check(col("severity").eq(col("status")), None);
    }
}
