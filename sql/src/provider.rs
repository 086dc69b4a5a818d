//! A table of the store, as DataFusion reads it: one scan, streamed, with the projection, simple conditions and the
//! limit handed to the store. It has no insert, update or delete.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use crate::filters;
use crate::source::{Arg, Source};
use crate::tables::{Kind, Table};

/// Batches between the store and the plan: enough to overlap, few enough to be bounded.
const BATCHES_AHEAD: usize = 2;

#[derive(Debug)]
pub(crate) struct StoreTable {
    source: Source,
    table: &'static Table,
    /// Rows that belong to the table for this query; made of numbers only.
    condition: Option<String>,
}

impl StoreTable {
    pub fn new(source: Source, table: &'static Table, condition: Option<String>) -> Self {
        StoreTable {
            source,
            table,
            condition,
        }
    }
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = filters.iter().map(|filter| match filters::push(self.table, filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        });
        Ok(support.collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.table.columns.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let schema: SchemaRef = Arc::new(self.table.schema().project(wanted)?);
        let columns: Vec<(&str, Kind)> = wanted.iter().map(|index| self.table.columns[*index]).collect();

        let mut selected: Vec<String> = columns
            .iter()
            .map(|(name, kind)| self.source.selected(name, *kind))
            .collect();
        if selected.is_empty() {
            // COUNT(*): rows matter, columns do not.
            selected.push("1".to_owned());
        }
        let mut sql = format!("SELECT {} FROM {}", selected.join(", "), self.table.name);
        let mut conditions: Vec<String> = self.condition.iter().cloned().collect();
        let mut args = Vec::new();
        for (condition, arg) in filters.iter().filter_map(|filter| filters::push(self.table, filter)) {
            args.push(arg);
            conditions.push(format!("{condition} ${}", args.len()));
        }
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        if let Some(limit) = limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        let kinds = columns.iter().map(|(_, kind)| *kind).collect();
        let scan = Scan {
            source: self.source.clone(),
            sql,
            args,
            schema: schema.clone(),
            kinds,
        };
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            vec![Arc::new(scan)],
            None,
            None,
            false,
            limit,
        )?))
    }
}

/// One statement to run.
#[derive(Debug)]
struct Scan {
    source: Source,
    sql: String,
    args: Vec<Arg>,
    schema: SchemaRef,
    kinds: Vec<Kind>,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(self.schema.clone(), BATCHES_AHEAD);
        let (source, to) = (self.source.clone(), stream.tx());
        stream.spawn(source.stream(
            self.sql.clone(),
            self.args.clone(),
            self.schema.clone(),
            self.kinds.clone(),
            to,
        ));
        stream.build()
    }
}
