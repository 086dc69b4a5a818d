//! What a click on Slack, or the command `/aegis`, means: the same orders that the API gives, once per pair of buttons and once per request.

mod command;

use std::time::Duration;

use async_trait::async_trait;
use gateway::{OrderError, Orders};
use sinks::notify::Http;
use sources::webhook::slack::{Answers, Click, Command, Verb};

use crate::orders::LogOrders;
use crate::similar::Similar;

/// For what is said to the person who clicked.
const TELL_TIME: Duration = Duration::from_secs(5);

/// Answers clicks and commands.
pub struct SlackAnswers {
    pub orders: LogOrders,
    pub http: Http,
    pub similar: Option<Similar>,
}

#[async_trait]
impl Answers for SlackAnswers {
    async fn answer(&self, click: Click) -> String {
        match self.order(&click).await {
            Ok(text) => {
                tracing::info!(remediation = %click.remediation, by = click.by, verb = ?click.verb, "an order from Slack");
                text.to_owned()
            }
            Err(error) => {
                tracing::warn!(remediation = %click.remediation, by = click.by, %error, "an order from Slack was not given");
                format!("Not done: {error}.")
            }
        }
    }

    async fn command(&self, command: Command) -> String {
        let (wish, by) = (&command.wish, command.by.as_str());
        match self.obey(&command).await {
            Ok(text) => {
                if wish.changes() {
                    tracing::info!(?wish, by, "an order from Slack");
                }
                text
            }
            Err(error) => {
                tracing::warn!(?wish, by, %error, "a command from Slack was not followed");
                format!("Not done: {error}.")
            }
        }
    }

    async fn tell(&self, response_url: String, text: String) {
        let body = serde_json::json!({"response_type": "ephemeral", "replace_original": false, "text": text});
        let told = self
            .http
            .post(&response_url, &[], body.to_string().into_bytes(), TELL_TIME)
            .await;
        if let Err(failed) = told {
            tracing::debug!(detail = failed.detail(), "who clicked could not be told");
        }
    }
}

impl SlackAnswers {
    /// The nonce is taken before the order, so that of two clicks one gives it; it is given back if the order cannot have been given.
    async fn order(&self, click: &Click) -> Result<&'static str, OrderError> {
        let store = &self.orders.store;
        let away = |error: sinks::sql::StoreError| OrderError::Unavailable(error.to_string());
        let used = || OrderError::Conflict("it was answered already".to_owned());
        let button = store.button(click.nonce).await.map_err(away)?;
        let button = button.ok_or_else(|| OrderError::NotFound("such button".to_owned()))?;
        if (button.remediation, button.plan_hash.as_str()) != (click.remediation, click.plan_hash.as_str()) {
            return Err(OrderError::Conflict("the button is of another plan".to_owned()));
        }
        let now = self.orders.clock.now().to_datetime();
        if !store.use_button(click.nonce, &click.by, now).await.map_err(away)? {
            return Err(used());
        }
        let given = match click.verb {
            Verb::Approve => {
                self.orders
                    .approve(click.remediation, &click.plan_hash, &click.by)
                    .await
            }
            Verb::Deny => self.orders.deny(click.remediation, "denied on Slack", &click.by).await,
        };
        if let Err(error) = given {
            // The gate refuses a second answer, so a use given back after a lost answer harms nobody.
            store.free_button(click.nonce).await.map_err(away)?;
            return Err(error);
        }
        Ok(match click.verb {
            Verb::Approve => "Approved.",
            Verb::Deny => "Denied.",
        })
    }
}
