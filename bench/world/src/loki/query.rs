//! LogQL: `{label="value"} |= "text" | label!~"pattern"`. Strings are Go's, quoted with `"` or backticks.

use regex::Regex;

use super::Line;

/// All must hold.
pub struct Query {
    selector: Vec<Matcher>,
    stages: Vec<Stage>,
}

struct Matcher {
    label: String,
    test: Test,
}

enum Stage {
    Line(Test),
    Label(Matcher),
}

enum Test {
    Is(String),
    IsNot(String),
    Has(String),
    HasNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Test::Is(wanted) => value == wanted,
            Test::IsNot(wanted) => value != wanted,
            Test::Has(text) => value.contains(text.as_str()),
            Test::HasNot(text) => !value.contains(text.as_str()),
            Test::Matches(pattern) => pattern.is_match(value),
            Test::MatchesNot(pattern) => !pattern.is_match(value),
        }
    }
}

impl Query {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = Rest(text);
        rest.expect("{")?;
        let mut selector = Vec::new();
        loop {
            selector.push(rest.matcher()?);
            if rest.take("}") {
                break;
            }
            rest.expect(",")?;
        }
        let mut stages = Vec::new();
        while !rest.at_end() {
            stages.push(if rest.take("|=") {
                Stage::Line(Test::Has(rest.string()?))
            } else if rest.take("!=") {
                Stage::Line(Test::HasNot(rest.string()?))
            } else if rest.take("|~") {
                Stage::Line(Test::Matches(pattern(&rest.string()?)?))
            } else if rest.take("!~") {
                Stage::Line(Test::MatchesNot(pattern(&rest.string()?)?))
            } else {
                rest.expect("|")?;
                Stage::Label(rest.matcher()?)
            });
        }
        Ok(Query { selector, stages })
    }

    pub fn matches(&self, line: &Line) -> bool {
        let label = |name: &str| {
            let found = line.metadata.get(name).or_else(|| line.labels.get(name));
            // A label that is absent reads as the empty text.
            found.map_or("", String::as_str)
        };
        self.selector.iter().all(|one| one.test.holds(label(&one.label)))
            && self.stages.iter().all(|stage| match stage {
                Stage::Line(test) => test.holds(&line.text),
                Stage::Label(one) => one.test.holds(label(&one.label)),
            })
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|fault| fault.to_string())
}

/// What is not read yet.
pub(crate) struct Rest<'a>(pub &'a str);

impl Rest<'_> {
    pub fn take(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    pub fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.take(token) {
            true => Ok(()),
            false => Err(format!("syntax error: unexpected {:?}, expecting {token}", self.0)),
        }
    }

    pub fn at_end(&mut self) -> bool {
        self.0 = self.0.trim_start();
        self.0.is_empty()
    }

    pub fn name(&mut self) -> Result<String, String> {
        self.0 = self.0.trim_start();
        let end = self
            .0
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
            .unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("syntax error: unexpected {:?}, expecting a label", self.0));
        }
        self.0 = rest;
        Ok(name.to_owned())
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let label = self.name()?;
        // Matchers of labels are anchored.
        let anchored = |text: String| pattern(&format!("^(?:{text})$"));
        let test = if self.take("=~") {
            Test::Matches(anchored(self.string()?)?)
        } else if self.take("!~") {
            Test::MatchesNot(anchored(self.string()?)?)
        } else if self.take("!=") {
            Test::IsNot(self.string()?)
        } else {
            self.expect("=")?;
            Test::Is(self.string()?)
        };
        Ok(Matcher { label, test })
    }

    pub fn string(&mut self) -> Result<String, String> {
        if self.take("`") {
            let end = self.0.find('`').ok_or("a string without an end")?;
            let text = self.0[..end].to_owned();
            self.0 = &self.0[end + 1..];
            return Ok(text);
        }
        self.expect("\"")?;
        let mut text = String::new();
        let mut characters = self.0.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                '\n' => return Err("a new line within a string".to_owned()),
                '\\' => match characters.next().map(|(_, escape)| escape) {
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some(same @ ('"' | '\\')) => text.push(same),
                    Some('u') => {
                        let digits: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        text.push(code.ok_or_else(|| format!("the escape \\u{digits}"))?);
                    }
                    other => return Err(format!("the escape {other:?}")),
                },
                other => text.push(other),
            }
        }
        Err("a string without an end".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, labels: &[(&str, &str)], text: &str, expected: bool) {
        let line = Line {
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            metadata: Default::default(),
            at_ns: 0,
            text: text.to_owned(),
        };
        assert_eq!(Query::parse(query).unwrap().matches(&line), expected, "{query}");
    }

    #[test]
    fn queries() {
        let api = &[("app", "api"), ("level", "Info")][..];
        check(r#"{app="api"}"#, api, "x", true);
        check(r#"{app="api", level="Info"}"#, api, "x", true);
        check(r#"{app=~"a.*"} |= "b\"c""#, api, "a b\"c d", true);
        check(r#"{app="api"} |= "B""#, api, "b", false);
        check(r#"{app="api"} | level!~"(?i)(debug|info)""#, api, "x", false);
        check(r#"{app="api"} | level!~"(?i)(debug|info)""#, &api[..1], "x", true);
        for wrong in [
            r#"{app="api""#,
            r#"app="api""#,
            r#"{app="a\q"}"#,
            r#"{app="api"} or x"#,
            "{}",
        ] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
    }
}
