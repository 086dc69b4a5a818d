//! `a || b` of text as a function, which has the same bound as the others: nested, it doubles with every level.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::compute::kernels::concat_elements::concat_elements_utf8;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::execution::FunctionRegistry as _;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast,
};
use datafusion::prelude::SessionContext;

use super::bounded::LIMIT;

pub(super) fn register(context: &SessionContext) {
    let function = Arc::new(ScalarUDF::from(TextConcat::default()));
    context.register_udf(function.as_ref().clone());
    let registered = context
        .state_ref()
        .write()
        .register_function_rewrite(Arc::new(Rewrite(function)));
    debug_assert!(registered.is_ok());
}

#[derive(Debug)]
struct Rewrite(Arc<ScalarUDF>);

impl FunctionRewrite for Rewrite {
    fn name(&self) -> &str {
        "text_concat"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::StringConcat,
            right,
        }) = expr
        else {
            return Ok(Transformed::no(expr));
        };
        let types = [left.get_type(schema)?, right.get_type(schema)?];
        let list = |of: &DataType| {
            matches!(
                of,
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
            )
        };
        if types.iter().any(list) {
            let same = BinaryExpr::new(left, Operator::StringConcat, right);
            return Ok(Transformed::no(Expr::BinaryExpr(same)));
        }
        let args = [*left, *right].map(|side| cast(side, DataType::Utf8));
        Ok(Transformed::yes(self.0.call(args.to_vec())))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextConcat {
    signature: Signature,
}

impl Default for TextConcat {
    fn default() -> Self {
        TextConcat {
            signature: Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for TextConcat {
    fn name(&self) -> &str {
        "text_concat"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows as u64;
        // What a scalar would become for all rows.
        let bytes = args.args.iter().fold(0_u64, |sum, arg| match arg {
            ColumnarValue::Scalar(value) => sum.saturating_add((value.size() as u64).saturating_mul(rows)),
            ColumnarValue::Array(array) => sum.saturating_add(array.get_array_memory_size() as u64),
        });
        if bytes > LIMIT {
            return exec_err!("|| would make {bytes} bytes of one batch of rows; the limit is {LIMIT}");
        }
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let sides = ColumnarValue::values_to_arrays(&args.args)?;
        let (left, right) = (sides[0].as_string::<i32>(), sides[1].as_string::<i32>());
        let joined = concat_elements_utf8(left, right)?;
        if scalar {
            return datafusion::scalar::ScalarValue::try_from_array(&joined, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(Arc::new(joined)))
    }
}
