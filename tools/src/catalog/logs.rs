//! A store of log lines.

use serde_json::Value;

use super::{Purpose, Tool, arguments_of, json, observing, unknown};
use crate::ToolError;
use crate::observe::{LabelAnswer, LabelQuery, LogAnswer, LogQuery, Logs, Observe};

pub(super) fn tools() -> Vec<Tool> {
    vec![
        observing::<LogQuery, LogAnswer>("logs_search", "Log lines of a service, newest first."),
        observing::<LabelQuery, LabelAnswer>(
            "logs_labels",
            "The labels that log lines carry, or the values of one of them: which services there are lines of.",
        ),
    ]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    Ok(match name {
        "logs_search" => {
            let read: LogQuery = arguments_of("logs_search", arguments)?;
            json(logs(observe)?.search(&read).await?)
        }
        "logs_labels" => {
            let read: LabelQuery = arguments_of("logs_labels", arguments)?;
            json(logs(observe)?.labels(&read).await?)
        }
        other => return Err(unknown(other, Purpose::Observe)),
    })
}

fn logs(observe: &Observe) -> Result<&dyn Logs, ToolError> {
    observe.logs.as_deref().ok_or(ToolError::Absent {
        tool: "logs",
        setting: "tools.loki.url",
    })
}
