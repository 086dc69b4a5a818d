//! A few characters of SQL can ask for any amount of text: `repeat('x', 2000000000)`, and each of these functions upon the other.
//! DataFusion's memory pool does not see what a function makes before it has made it. So these say beforehand how much it will be,
//! and refuse to make more than [`LIMIT`] for one batch of rows.

use std::sync::Arc;

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

/// Bytes that one call may make, for all rows of its batch.
pub(super) const LIMIT: u64 = 64 << 20;

/// Made from their bounds alone, whole, in one value: the table functions of the same names make the same rows one batch after the other.
const REMOVED: &[&str] = &["range", "generate_series", "gen_series"];

pub(super) fn register(context: &SessionContext) {
    for name in REMOVED {
        context.deregister_udf(name);
    }
    let functions = context.state().scalar_functions().clone();
    for (name, _) in SIZES {
        if let Some(inner) = functions.get(*name) {
            let (inner, size) = (inner.clone(), Size { name });
            context.register_udf(ScalarUDF::from(Bounded { inner, size }));
        }
    }
}

/// Bytes that row `row` of the answer will have.
type Estimate = fn(&[ColumnarValue], usize) -> u64;

const SIZES: &[(&str, Estimate)] = &[
    ("repeat", |args, row| {
        length(args, 0, row).saturating_mul(number(args, 1, row))
    }),
    ("lpad", |args, row| number(args, 1, row).saturating_mul(4)),
    ("rpad", |args, row| number(args, 1, row).saturating_mul(4)),
    ("replace", |args, row| {
        let (text, from) = (length(args, 0, row), length(args, 1, row));
        let hits = (text + 1) / from.max(1);
        text.saturating_add(hits.saturating_mul(length(args, 2, row)))
    }),
    ("regexp_replace", |args, row| {
        let text = length(args, 0, row);
        text.saturating_add((text + 1).saturating_mul(length(args, 2, row)))
    }),
    ("concat", |args, row| {
        (0..args.len()).map(|arg| length(args, arg, row)).sum()
    }),
    ("concat_ws", |args, row| {
        (1..args.len())
            .map(|arg| length(args, arg, row) + length(args, 0, row))
            .sum()
    }),
    ("array_repeat", |args, row| {
        length(args, 0, row).max(8).saturating_mul(number(args, 1, row))
    }),
    ("array_resize", |args, row| {
        number(args, 1, row).saturating_mul(length(args, 2, row).max(8))
    }),
    ("array_to_string", |args, row| {
        let elements = elements(args, 0, row);
        length(args, 0, row).saturating_add(elements.saturating_mul(length(args, 1, row)))
    }),
];

/// Looked up by name, so that two of these functions are equal when they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Size {
    name: &'static str,
}

impl Size {
    fn of(self, args: &[ColumnarValue], rows: usize) -> u64 {
        let Some((_, estimate)) = SIZES.iter().find(|(name, _)| *name == self.name) else {
            return 0;
        };
        let scalar = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { rows };
        (0..rows).fold(0_u64, |sum, row| sum.saturating_add(estimate(args, row)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    /// Never: some become the function itself, without its bound.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Original(args))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.size.of(&args.args, args.number_rows);
        if bytes > LIMIT {
            return exec_err!(
                "{}() would make {bytes} bytes of one batch of rows; the limit is {LIMIT}",
                self.name()
            );
        }
        self.inner.invoke_with_args(args)
    }
}

/// Bytes of a text, or of all that stands in a list.
fn length(args: &[ColumnarValue], arg: usize, row: usize) -> u64 {
    match args.get(arg) {
        None => 0,
        Some(ColumnarValue::Scalar(value)) => match value {
            ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
                text.as_ref().map_or(0, |text| text.len() as u64)
            }
            other => other.size() as u64,
        },
        Some(ColumnarValue::Array(array)) => match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value(row).len() as u64,
            DataType::LargeUtf8 => array.as_string::<i64>().value(row).len() as u64,
            DataType::Utf8View => array.as_string_view().value(row).len() as u64,
            DataType::List(_) => array.as_list::<i32>().value(row).get_array_memory_size() as u64,
            DataType::LargeList(_) => array.as_list::<i64>().value(row).get_array_memory_size() as u64,
            other => other.primitive_width().unwrap_or(16) as u64,
        },
    }
}

fn elements(args: &[ColumnarValue], arg: usize, row: usize) -> u64 {
    let count = |array: &dyn Array, row: usize| match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row).len() as u64,
        DataType::LargeList(_) => array.as_list::<i64>().value(row).len() as u64,
        DataType::FixedSizeList(_, size) => u64::try_from(*size).unwrap_or(0),
        _ => 1,
    };
    match args.get(arg) {
        None => 0,
        Some(ColumnarValue::Array(array)) => count(array, row),
        Some(ColumnarValue::Scalar(value)) => value.to_array().map_or(0, |array| count(&array, 0)),
    }
}

/// Zero for what is negative or NULL.
fn number(args: &[ColumnarValue], arg: usize, row: usize) -> u64 {
    let value = match args.get(arg) {
        None => None,
        Some(ColumnarValue::Scalar(value)) => value.cast_to(&DataType::Int64).ok().and_then(|value| match value {
            ScalarValue::Int64(value) => value,
            _ => None,
        }),
        Some(ColumnarValue::Array(array)) => arrow::compute::cast(&array.slice(row, 1), &DataType::Int64)
            .ok()
            .filter(|array| array.is_valid(0))
            .map(|array| array.as_primitive::<Int64Type>().value(0)),
    };
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}
