//! What a client has the server keep between its messages: named statements and portals, so many of them and no more.

use std::collections::HashSet;

use datafusion_postgres::pgwire::error::PgWireError;
use datafusion_postgres::pgwire::messages::PgWireFrontendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT};

use crate::errors::user;

/// Of each kind. Drivers keep a hundred statements by default; a plan is some tens of kilobytes.
const MOST: usize = 256;

/// Of one connection. Names count; what has none is replaced by the next of its kind.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    statements: HashSet<String>,
    portals: HashSet<String>,
}

impl Kept {
    /// Looks at `message` before it is worked on. An error: there would be too many.
    pub fn look(&mut self, message: &PgWireFrontendMessage) -> Result<(), PgWireError> {
        match message {
            PgWireFrontendMessage::Parse(parse) => {
                add(&mut self.statements, parse.name.as_deref(), "prepared statements")
            }
            PgWireFrontendMessage::Bind(bind) => add(&mut self.portals, bind.portal_name.as_deref(), "open portals"),
            PgWireFrontendMessage::Close(close) => {
                let name = close.name.as_deref().unwrap_or_default();
                match close.target_type {
                    TARGET_TYPE_BYTE_STATEMENT => self.statements.remove(name),
                    TARGET_TYPE_BYTE_PORTAL => self.portals.remove(name),
                    _ => false,
                };
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn add(names: &mut HashSet<String>, name: Option<&str>, what: &str) -> Result<(), PgWireError> {
    let Some(name) = name.filter(|name| !name.is_empty() && !names.contains(*name)) else {
        return Ok(());
    };
    if names.len() >= MOST {
        let text = format!("this connection has {MOST} {what}: close some, or let the driver keep fewer");
        return Err(user("54000", text));
    }
    names.insert(name.to_owned());
    Ok(())
}
