//! PromQL from templates. A label's value comes from a sender: it is quoted so that it stays one value, whatever it holds.

use std::sync::LazyLock;

use regex::Regex;

use crate::text;

/// Longest value of a label that is asked with. Kubernetes allows 63; anything much longer is not a name.
const VALUE_LIMIT: usize = 253;

/// What a service's series are selected by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    pub service: &'a str,
    pub namespace: Option<&'a str>,
}

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$[a-z_]+").expect("a constant pattern"));

/// `template` once per selector, joined by `or`: the first that has series answers. `None` where the service's name cannot be one.
pub fn fill(template: &str, selectors: &[String], of: &Selection<'_>) -> Option<String> {
    if !usable(of.service) || !of.namespace.is_none_or(usable) {
        return None;
    }
    // Series without the label match an empty value, so a scrape that knows no namespaces is found as well.
    let namespace = of
        .namespace
        .map(|name| format!(r#"namespace=~"{}|","#, pattern(name)))
        .unwrap_or_default();
    let each = selectors.iter().map(|selector| {
        let matcher = PLACEHOLDER.replace_all(selector, |found: &regex::Captures<'_>| match &found[0] {
            "$service" => quoted(of.service),
            "$service_re" => pattern(of.service),
            other => other.to_owned(),
        });
        // One pass: what was filled in is never looked at again.
        template.replace("$selector", &format!("{namespace}{matcher}"))
    });
    let all: Vec<String> = each.collect();
    match all.as_slice() {
        [only] => Some(only.clone()),
        _ => Some(
            all.iter()
                .map(|one| format!("({one})"))
                .collect::<Vec<_>>()
                .join(" or "),
        ),
    }
}

/// Whether a label's value can be asked with: the question is kept and shown, so the value must be one that can be shown as it is
/// (not long, nothing that cannot be seen, no secret).
pub fn usable(value: &str) -> bool {
    !value.is_empty() && value.len() <= VALUE_LIMIT && text::line(value, VALUE_LIMIT) == value
}

/// The inside of a PromQL string in double quotes.
fn quoted(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"")
}

/// The same as a regular expression (RE2) that matches exactly it.
fn pattern(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    quoted(&escaped)
}

/// Whether an expression template can be used.
pub fn check(template: &str) -> Result<(), String> {
    placeholders(template, &["$selector"])?;
    if template.contains("$selector") {
        Ok(())
    } else {
        Err("it has no $selector, so it would be about every service: write for example up{$selector}".to_owned())
    }
}

/// Whether a selector can be used: its placeholders stand inside double quotes.
pub fn check_selector(selector: &str) -> Result<(), String> {
    placeholders(selector, &["$service", "$service_re"])?;
    if !selector.contains("$service") {
        return Err("it holds neither $service nor $service_re, so it would be about every service".to_owned());
    }
    let unquoted = selector.split('"').step_by(2).any(|outside| outside.contains('$'));
    let open = !selector.matches('"').count().is_multiple_of(2);
    if unquoted || open || selector.contains('\\') {
        return Err("write the placeholder inside double quotes, without backslashes: service=\"$service\"".to_owned());
    }
    Ok(())
}

fn placeholders(text: &str, known: &[&str]) -> Result<(), String> {
    match PLACEHOLDER
        .find_iter(text)
        .find(|found| !known.contains(&found.as_str()))
    {
        Some(found) => Err(format!("{} is none of {}", found.as_str(), known.join(", "))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled() {
        let check = |service: &str, namespace: Option<&str>, selector: &str, expected: Option<&str>| {
            let of = Selection { service, namespace };
            let filled = fill("up{$selector}", &[selector.to_owned()], &of);
            assert_eq!(filled.as_deref(), expected, "{service}");
        };
        check("api", None, r#"app="$service""#, Some(r#"up{app="api"}"#));
        check(
            "api.v1",
            Some("prod"),
            r#"pod=~"$service_re-.+""#,
            Some(r#"up{namespace=~"prod|",pod=~"api\\.v1-.+"}"#),
        );
        // A value stays a value.
        check(
            r#"x"} or vector(1) or up{a=""#,
            None,
            r#"app="$service""#,
            Some(r#"up{app="x\"} or vector(1) or up{a=\""}"#),
        );
        check(r"x\", None, r#"app="$service""#, Some(r#"up{app="x\\"}"#));
        check(
            "$service_re",
            None,
            r#"app="$service""#,
            Some(r#"up{app="$service_re"}"#),
        );
        check(
            ".*",
            Some(".*"),
            r#"a=~"$service_re""#,
            Some(r#"up{namespace=~"\\.\\*|",a=~"\\.\\*"}"#),
        );
        check("api\u{202e}", None, r#"app="$service""#, None);
        check("a\nb", None, r#"app="$service""#, None);
        check("", None, r#"app="$service""#, None);
        check(&"x".repeat(300), None, r#"app="$service""#, None);
    }

    #[test]
    fn several_selectors_are_alternatives() {
        let of = Selection {
            service: "a",
            namespace: None,
        };
        let selectors = [r#"app="$service""#.to_owned(), r#"job="$service""#.to_owned()];
        assert_eq!(
            fill("max(m{$selector})", &selectors, &of).as_deref(),
            Some(r#"(max(m{app="a"})) or (max(m{job="a"}))"#)
        );
    }
}
