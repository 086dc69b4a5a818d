//! `aegis sql --follow`: the same query over and over, and of each answer the rows that the one before did not have.
//!
//! That holds for any query: of one over events the new ones come, of an aggregate the groups that changed. A row that is in an
//! answer twice is shown twice.
//!
//! Where instances share a Redis, the next question is asked as soon as one of them says that something changed, and not only when the pause
//! is over.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use gateway::{Changes, Woken};
use shared::Shared;
use tokio_util::sync::CancellationToken;

use super::Asking;
use crate::cli::Exit;
use crate::cli::render::{self, Format};
use crate::run::signalled;

pub(super) async fn follow(mut asking: Asking, query: &str, format: Format, every: f64) -> anyhow::Result<Exit> {
    let pause = Duration::try_from_secs_f64(every).ok().filter(|pause| !pause.is_zero());
    let Some(pause) = pause else {
        return Err(Exit::Usage.because(format!("--every {every}: give seconds above 0")));
    };
    let mut stop = std::pin::pin!(signalled());
    let news = News::listen(&asking)?;
    let mut seen = Seen::default();
    let mut first = true;
    loop {
        let mark = news.mark();
        // What is away comes back; a query that is wrong stays wrong, and the first answer tells.
        match asking.ask(query).await {
            Ok((schema, batches)) => {
                let news: Vec<RecordBatch> = seen.news(&batches)?;
                if first || !news.is_empty() {
                    let mut out = io::stdout().lock();
                    render::more_batches(&schema, &news, format, &asking.session.screen, first, &mut out)?;
                    out.flush()?;
                }
                first = false;
            }
            Err(error) if first => return Err(error),
            Err(error) => render::error(&error, &asking.session.screen, &mut io::stderr().lock())?,
        }
        tokio::select! {
            stopped = &mut stop => return stopped.map(|()| Exit::Done),
            () = tokio::time::sleep(pause) => {}
            () = news.after(&mark, pause) => {}
        }
    }
}

/// Least time between two questions. Lower: a busy system is asked without an end.
const LEAST: Duration = Duration::from_millis(250);

/// What other processes say has changed; nothing, where nothing is shared.
struct News(Option<Arc<Changes>>);

impl News {
    fn listen(asking: &Asking) -> anyhow::Result<Self> {
        let settings = &asking.session.config.shared;
        if settings.redis_url.is_empty() {
            return Ok(News(None));
        }
        let changes = Changes::new(Shared::open(settings)?.pubsub);
        let listening = changes.clone();
        tokio::spawn(async move { listening.run(CancellationToken::new()).await });
        Ok(News(Some(changes)))
    }

    fn mark(&self) -> String {
        self.0.as_ref().map(|changes| changes.mark()).unwrap_or_default()
    }

    async fn after(&self, mark: &str, pause: Duration) {
        let Some(changes) = &self.0 else {
            return std::future::pending().await;
        };
        tokio::time::sleep(LEAST.min(pause)).await;
        while changes.after(mark).await != Woken::Changed {}
    }
}

/// The rows of the last answer, each with how often it was there.
#[derive(Default)]
struct Seen(HashMap<String, usize>);

impl Seen {
    /// What the last answer did not have; this one takes its place.
    fn news(&mut self, batches: &[RecordBatch]) -> anyhow::Result<Vec<RecordBatch>> {
        let mut now = HashMap::new();
        let mut news = Vec::new();
        for batch in batches {
            let options = FormatOptions::new().with_null("\u{0}");
            let columns = batch.columns().iter();
            let columns: Vec<ArrayFormatter<'_>> = columns
                .map(|column| ArrayFormatter::try_new(column, &options))
                .collect::<Result<_, _>>()?;
            let mut fresh = Vec::with_capacity(batch.num_rows());
            for row in 0..batch.num_rows() {
                let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
                let text = cells.join("\u{1}");
                let before = self.0.get(&text).copied().unwrap_or(0);
                let count: &mut usize = now.entry(text).or_default();
                *count += 1;
                fresh.push(*count > before);
            }
            if fresh.contains(&true) {
                news.push(filter_record_batch(batch, &BooleanArray::from(fresh))?);
            }
        }
        self.0 = now;
        Ok(news)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array as _, ArrayRef, Int64Array};

    use super::*;

    fn news(seen: &mut Seen, values: &[i64]) -> Vec<i64> {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let news = seen.news(&[batch]).unwrap();
        let values = news.iter().flat_map(|batch| {
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            column.values().to_vec()
        });
        values.collect()
    }

    #[test]
    fn only_what_the_answer_before_did_not_have_is_new() {
        let mut seen = Seen::default();
        assert_eq!(news(&mut seen, &[1, 2, 2]), [1, 2, 2]);
        assert_eq!(news(&mut seen, &[1, 2, 2]), [0i64; 0]);
        assert_eq!(news(&mut seen, &[2, 2, 2, 3]), [2, 3]);
        assert_eq!(news(&mut seen, &[1]), [1], "gone and back again");
    }
}
