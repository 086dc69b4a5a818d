//! JQL, as far as `project in (…)`, `statusCategory != Done`, `labels = "…"`, `text ~ "…"`, `AND`, `OR`, brackets and `ORDER BY`.

use super::Ticket;

/// A condition.
#[derive(Debug, PartialEq)]
pub enum Query {
    And(Vec<Query>),
    Or(Vec<Query>),
    Projects(Vec<String>),
    NotDone,
    Label(String),
    /// A word, or a phrase without its quotes.
    Text(String),
}

impl Query {
    pub fn holds(&self, ticket: &Ticket) -> bool {
        match self {
            Query::And(all) => all.iter().all(|one| one.holds(ticket)),
            Query::Or(any) => any.iter().any(|one| one.holds(ticket)),
            Query::Projects(keys) => keys.iter().any(|key| key == ticket.project()),
            Query::NotDone => !ticket.done,
            Query::Label(label) => ticket.labels.contains(label),
            Query::Text(text) => {
                let within = |of: &str| of.to_lowercase().contains(&text.to_lowercase());
                within(&ticket.summary) || within(&ticket.description)
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

/// The condition in front of `ORDER BY`; the order itself is always the last change.
pub fn parse(jql: &str) -> Result<Query, String> {
    let tokens = tokens(jql)?;
    let mut reader = Reader { tokens, at: 0 };
    let query = reader.any()?;
    match reader.word().as_deref() {
        None => Ok(query),
        Some("order") if reader.word().as_deref() == Some("by") => Ok(query),
        Some(other) => Err(format!("expecting AND, OR or ORDER BY but got {other:?}")),
    }
}

fn tokens(jql: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = jql.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            ' ' => continue,
            '(' => Token::Sign("("),
            ')' => Token::Sign(")"),
            ',' => Token::Sign(","),
            '=' => Token::Sign("="),
            '~' => Token::Sign("~"),
            '!' if rest.next_if_eq(&'=').is_some() => Token::Sign("!="),
            '"' => {
                let mut text = String::new();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => text.extend(rest.next()),
                        Some(other) => text.push(other),
                        None => return Err("the quoted string has not been completed".to_owned()),
                    }
                }
                Token::Text(text)
            }
            c if c.is_alphanumeric() => {
                let mut word = c.to_string();
                while let Some(more) = rest.next_if(|c| c.is_alphanumeric()) {
                    word.push(more);
                }
                Token::Word(word)
            }
            other => return Err(format!("the character {other:?} is a reserved JQL character")),
        });
    }
    Ok(tokens)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// The next word, in lower case, if there is one.
    fn word(&mut self) -> Option<String> {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => {
                self.at += 1;
                Some(word.to_lowercase())
            }
            _ => None,
        }
    }

    fn is(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Query, String> {
        let mut parts = vec![self.all()?];
        while self.is("or") {
            parts.push(self.all()?);
        }
        Ok(Query::Or(parts))
    }

    fn all(&mut self) -> Result<Query, String> {
        let mut parts = vec![self.one()?];
        while self.is("and") {
            parts.push(self.one()?);
        }
        Ok(Query::And(parts))
    }

    fn one(&mut self) -> Result<Query, String> {
        if self.tokens.get(self.at) == Some(&Token::Sign("(")) {
            self.at += 1;
            let inner = self.any()?;
            return self.sign(")").map(|()| inner);
        }
        let field = self.word().ok_or("expecting a field")?;
        match field.as_str() {
            "project" if self.is("in") => {
                self.sign("(")?;
                let mut keys = vec![self.text()?];
                while self.tokens.get(self.at) == Some(&Token::Sign(",")) {
                    self.at += 1;
                    keys.push(self.text()?);
                }
                self.sign(")").map(|()| Query::Projects(keys))
            }
            "statuscategory" => {
                self.sign("!=")?;
                match self.is("done") {
                    true => Ok(Query::NotDone),
                    false => Err("expecting Done".to_owned()),
                }
            }
            "labels" => {
                self.sign("=")?;
                self.text().map(Query::Label)
            }
            "text" => {
                self.sign("~")?;
                let text = self.text()?;
                let phrase = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                Ok(Query::Text(
                    phrase.unwrap_or(&text).replace("\\\"", "\"").replace("\\\\", "\\"),
                ))
            }
            other => Err(format!(
                "field {other:?} does not exist or you do not have permission to view it"
            )),
        }
    }

    fn sign(&mut self, sign: &str) -> Result<(), String> {
        match self.next() {
            Some(Token::Sign(found)) if found == sign => Ok(()),
            other => Err(format!("expecting {sign:?} but got {other:?}")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            other => Err(format!("expecting a quoted value but got {other:?}")),
        }
    }
}
