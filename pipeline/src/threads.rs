//! The threads of stages and sinks, and those of queries.
//!
//! A stage that works off a batch keeps its thread for as long as that takes, and whoever waits for that thread is answered late. So stages and
//! sinks have threads of their own: the doors, the gateway and whatever else answers keep the process's other ones, and the system's scheduler
//! divides the cores between both (`docs/adr/0036-stages-have-threads-of-their-own.md`).

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// Until dropped; what still runs on them then is cut off.
pub struct OwnThreads {
    handle: Handle,
    /// Always there, until dropped.
    runtime: Option<Runtime>,
}

impl OwnThreads {
    /// For the stages. As many as there are cores, so that a backlog is worked off with all of them while the doors are quiet.
    pub fn of_stages() -> io::Result<Self> {
        Self::start(Builder::new_multi_thread().thread_name("stages"))
    }

    /// For other people's queries: no more than `count`, whatever they ask, and behind everybody else.
    pub fn of_queries(count: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        Self::start(
            builder
                .thread_name("sql")
                .worker_threads(count)
                .on_thread_start(sql::step_back),
        )
    }

    fn start(builder: &mut Builder) -> io::Result<Self> {
        let runtime = builder.enable_all().build()?;
        Ok(OwnThreads {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        // A runtime that is dropped as it is waits for its blocking work, which no thread of another runtime may do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
