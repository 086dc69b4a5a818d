//! The bounds of a statement: its time, its rows, and that somebody may call it off.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::api::results::{QueryResponse, SendableRowStream};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::messages::data::DataRow;
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use futures::{FutureExt as _, Stream, StreamExt as _};
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::errors::user;

/// Rows between two looks at the clock while they come without a pause.
const LOOK: u64 = 256;

/// One statement at work.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    cancelled: CancellationToken,
    deadline: Instant,
    time: Duration,
    max_rows: u64,
}

impl Statement {
    fn too_late(&self) -> PgWireError {
        let text = format!("canceling statement due to statement timeout ({:?})", self.time);
        user("57014", text)
    }

    /// `work`, as long as the statement may go on.
    pub async fn bound<T>(&self, work: impl Future<Output = PgWireResult<T>>) -> PgWireResult<T> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(PgWireError::QueryCanceled),
            () = sleep_until(self.deadline) => Err(self.too_late()),
            done = work => done,
        }
    }

    /// The same answer, as long as the statement may go on and has not too many rows.
    pub fn rows(&self, answer: QueryResponse) -> QueryResponse {
        let rows = Rows {
            inner: answer.data_rows,
            statement: self.clone(),
            cancelled: Box::pin(self.cancelled.clone().cancelled_owned()),
            deadline: Box::pin(sleep_until(self.deadline)),
            sent: 0,
            over: false,
        };
        let mut bounded = QueryResponse::new(answer.row_schema, rows);
        bounded.command_tag = answer.command_tag;
        bounded
    }
}

struct Rows {
    inner: SendableRowStream,
    statement: Statement,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    deadline: Pin<Box<Sleep>>,
    sent: u64,
    over: bool,
}

impl Rows {
    fn end(&mut self, why: PgWireError) -> Poll<Option<PgWireResult<DataRow>>> {
        self.over = true;
        // What it holds is let go at once.
        self.inner = Box::pin(futures::stream::empty());
        Poll::Ready(Some(Err(why)))
    }
}

impl Stream for Rows {
    type Item = PgWireResult<DataRow>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.sent.is_multiple_of(LOOK) || self.statement.cancelled.is_cancelled() {
            if self.cancelled.poll_unpin(context).is_ready() {
                return self.end(PgWireError::QueryCanceled);
            }
            if self.deadline.poll_unpin(context).is_ready() {
                let why = self.statement.too_late();
                return self.end(why);
            }
        }
        let row = match self.inner.poll_next_unpin(context) {
            Poll::Pending => {
                // They wake this task too, also where the last look was a few rows ago.
                if self.cancelled.poll_unpin(context).is_ready() {
                    return self.end(PgWireError::QueryCanceled);
                }
                ready!(self.deadline.poll_unpin(context));
                let why = self.statement.too_late();
                return self.end(why);
            }
            Poll::Ready(row) => row,
        };
        if matches!(row, Some(Ok(_))) {
            self.sent += 1;
            let most = self.statement.max_rows;
            if self.sent > most {
                return self.end(user(
                    "54000",
                    format!("the answer has more than {most} rows: add a LIMIT, or raise sql.max_rows"),
                ));
            }
        }
        Poll::Ready(row)
    }
}

/// What a connection is doing, so that another one can call it off.
#[derive(Debug)]
pub(crate) struct Doing {
    secret: SecretKey,
    current: Mutex<CancellationToken>,
}

/// All connections that ever ran a statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doings(Arc<Mutex<HashMap<i32, Weak<Doing>>>>);

impl Doings {
    /// The next statement of a client.
    pub fn begin<C: ClientInfo + ?Sized>(&self, client: &C, time: Duration, max_rows: u64) -> Statement {
        let (pid, secret) = client.pid_and_secret_key();
        let kept = client.session_extensions().get_or_insert_with(|| {
            let doing = Arc::new(Doing {
                secret,
                current: Mutex::default(),
            });
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, doing| doing.strong_count() > 0);
            all.insert(pid, Arc::downgrade(&doing));
            doing
        });
        let cancelled = CancellationToken::new();
        *kept.current.lock().unwrap_or_else(PoisonError::into_inner) = cancelled.clone();
        Statement {
            cancelled,
            deadline: Instant::now() + time,
            time,
            max_rows,
        }
    }
}

/// In a time that tells nothing of where they differ.
fn same(ours: &SecretKey, theirs: &SecretKey) -> bool {
    match (ours, theirs) {
        (SecretKey::I32(ours), SecretKey::I32(theirs)) => ours.ct_eq(theirs).into(),
        (SecretKey::Bytes(ours), SecretKey::Bytes(theirs)) => ours.ct_eq(theirs).into(),
        _ => false,
    }
}

#[async_trait]
impl CancelHandler for Doings {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(doing) = all.get(&request.pid).and_then(Weak::upgrade) else {
            return;
        };
        if same(&doing.secret, &request.secret_key) {
            doing.current.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        }
    }
}
