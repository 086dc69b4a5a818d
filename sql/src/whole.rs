//! A table that lies in several places: memory for what is newest, files for what is old, the store for the rest. Where a row is
//! looked for is decided at each scan, so that a session may live long; each row is in exactly one place ([`crate::archive`]).

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, col, ident, lit, not};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionContext};

use crate::archive::{self, Archived};
use crate::error::SqlError;
use crate::provider::StoreTable;
use crate::recent::Recent;
use crate::source::Source;
use crate::tables::Table;

#[derive(Debug)]
pub(crate) struct Whole {
    pub table: &'static Table,
    /// The archive's folder and the name of the topic in it.
    pub archive: Option<(PathBuf, &'static str)>,
    /// `None` for a table that the store does not have.
    pub store: Option<Source>,
    pub recent: Option<Recent>,
}

impl Whole {
    async fn rows(&self, context: &SessionContext) -> Result<DataFrame> {
        // Memory first: what leaves it meanwhile is in this copy, and what is in the copy is taken from nowhere else.
        let newest = self.recent.as_ref().map(Recent::newest).unwrap_or_default();
        let archived = match &self.archive {
            Some((root, name)) => Archived::list(root, name).map_err(external)?,
            None => Archived::default(),
        };
        let mut parts = Vec::new();
        if let Some(older) = archived.read(context, self.table).await? {
            let older = newest.starts.iter().try_fold(older, |rows, (partition, start)| {
                let newer = col("log_partition")
                    .eq(lit(i64::from(*partition)))
                    .and(col("log_offset").gt_eq(lit(i64::try_from(*start).unwrap_or(i64::MAX))));
                rows.filter(not(newer))
            })?;
            parts.push(older);
        }
        if let Some(source) = &self.store {
            let newer = newest
                .starts
                .iter()
                .map(|(partition, start)| format!("NOT (log_partition = {partition} AND log_offset >= {start})"));
            let conditions: Vec<String> = archived.beyond().into_iter().chain(newer).collect();
            let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
            let stored = StoreTable::new(source.clone(), self.table, condition);
            parts.push(context.read_table(Arc::new(stored))?);
        }
        if let Some(first) = newest.batches.first() {
            let memory = MemTable::try_new(first.schema(), vec![newest.batches.clone()])?;
            let rows = context.read_table(Arc::new(memory))?;
            parts.push(rows.select(archive::columns(self.table))?);
        }
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else {
            let none = MemTable::try_new(self.table.schema(), vec![Vec::new()])?;
            return context.read_table(Arc::new(none));
        };
        parts.try_fold(first, DataFrame::union)
    }
}

#[async_trait]
impl TableProvider for Whole {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The plan that a scan makes checks them itself, each place in its own way.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let state = session.as_any().downcast_ref::<SessionState>();
        let state = state.ok_or_else(|| DataFusionError::Internal("a session of another kind".to_owned()))?;
        let context = SessionContext::new_with_state(state.clone());
        let rows = self.rows(&context).await?;
        let mut rows = filters.iter().cloned().try_fold(rows, DataFrame::filter)?;
        if let Some(wanted) = projection {
            let columns = wanted.iter().map(|index| ident(self.table.columns[*index].0));
            rows = rows.select(columns.collect::<Vec<_>>())?;
        }
        if let Some(limit) = limit {
            rows = rows.limit(0, Some(limit))?;
        }
        rows.create_physical_plan().await
    }
}

fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
