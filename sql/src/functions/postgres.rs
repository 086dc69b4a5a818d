//! What clients of PostgreSQL and TimescaleDB call that DataFusion does not have.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

/// The version whose behaviour is offered, as clients read it.
pub const POSTGRES_VERSION: &str = "16.6";

/// Settings that clients ask for.
const SETTINGS: &[(&str, &str)] = &[
    ("server_version", POSTGRES_VERSION),
    ("server_version_num", "160006"),
    ("search_path", "public"),
    ("timezone", "UTC"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("default_transaction_read_only", "on"),
    ("transaction_read_only", "on"),
    ("transaction_isolation", "read committed"),
    ("is_superuser", "off"),
];

pub(super) fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::from(CurrentSetting::default()));
    context.register_udf(ScalarUDF::from(TimeBucket::default()));
}

/// `current_setting(name [, missing_ok])`: what is not known is empty.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CurrentSetting {
    signature: Signature,
}

impl Default for CurrentSetting {
    fn default() -> Self {
        let forms = vec![
            TypeSignature::Exact(vec![DataType::Utf8]),
            TypeSignature::Exact(vec![DataType::Utf8, DataType::Boolean]),
        ];
        CurrentSetting {
            signature: Signature::one_of(forms, Volatility::Stable),
        }
    }
}

impl ScalarUDFImpl for CurrentSetting {
    fn name(&self) -> &str {
        "current_setting"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let names = args.args[0].clone().into_array(args.number_rows)?;
        let value = |name: &str| {
            let known = SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            known.map_or("", |(_, value)| *value)
        };
        let values: StringArray = names.as_string::<i32>().iter().map(|name| name.map(value)).collect();
        let values: ArrayRef = Arc::new(values);
        Ok(match &args.args[0] {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(values),
        })
    }
}

/// `time_bucket(width, time)`: `date_bin` from the Monday that TimescaleDB counts from.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBucket {
    signature: Signature,
}

impl Default for TimeBucket {
    fn default() -> Self {
        TimeBucket {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

/// 2000-01-03 00:00 UTC.
const MONDAY: i64 = 946_857_600_000_000_000;

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match &types[1] {
            time @ DataType::Timestamp(..) => Ok(time.clone()),
            other => plan_err!("time_bucket(width, time): {other} is no time"),
        }
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let origin = lit(ScalarValue::TimestampNanosecond(Some(MONDAY), Some("+00:00".into())));
        let args = args.into_iter().chain([origin]).collect();
        Ok(ExprSimplifyResult::Simplified(date_bin().call(args)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!("time_bucket is replaced by date_bin when a query is planned")
    }
}
