//! Label and field selectors of lists.

use serde_json::Value;

/// All conditions of a label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
pub fn labels(selector: &str, object: &Value) -> Result<bool, String> {
    let labels = &object["metadata"]["labels"];
    for term in terms(selector) {
        let term = term.trim();
        let label = |name: &str| labels[name.trim()].as_str();
        let listed = |list: &str| -> Result<Vec<String>, String> {
            let inner = list.trim().strip_prefix('(').and_then(|list| list.strip_suffix(')'));
            let inner = inner.ok_or_else(|| format!("unable to parse requirement: {term}"))?;
            Ok(inner.split(',').map(|value| value.trim().to_owned()).collect())
        };
        let holds = if let Some((name, list)) = term.split_once(" notin ") {
            let values = listed(list)?;
            label(name).is_none_or(|value| !values.iter().any(|one| one == value))
        } else if let Some((name, list)) = term.split_once(" in ") {
            let values = listed(list)?;
            label(name).is_some_and(|value| values.iter().any(|one| one == value))
        } else if let Some((name, value)) = term.split_once("!=") {
            label(name) != Some(value.trim())
        } else if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            label(name) == Some(value.trim())
        } else if let Some(name) = term.strip_prefix('!') {
            label(name).is_none()
        } else if term.contains([' ', '(', ')']) {
            return Err(format!("unable to parse requirement: {term}"));
        } else {
            label(term).is_some()
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All conditions of a field selector. Only the fields that the API supports are known.
pub fn fields(selector: &str, object: &Value) -> Result<bool, String> {
    for term in selector.split(',').filter(|term| !term.is_empty()) {
        let (name, value, wanted) = match (
            term.split_once("!="),
            term.split_once("==").or_else(|| term.split_once('=')),
        ) {
            (Some((name, value)), _) => (name, value, false),
            (None, Some((name, value))) => (name, value, true),
            (None, None) => return Err(format!("invalid selector: {term:?}")),
        };
        let known = [
            "metadata.name",
            "metadata.namespace",
            "status.phase",
            "involvedObject.name",
            "involvedObject.kind",
            "involvedObject.uid",
        ];
        if !known.contains(&name) {
            return Err(format!("field label not supported: {name}"));
        }
        let field = object.pointer(&format!("/{}", name.replace('.', "/")));
        if (field.and_then(Value::as_str) == Some(value)) != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Commas within brackets part nothing.
fn terms(selector: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in selector.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms.retain(|term| !term.trim().is_empty());
    terms
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors() {
        let object = json!({"metadata": {"name": "n", "labels": {"app": "api", "tier": "web"}}});
        let check = |selector: &str, expected: Option<bool>| {
            assert_eq!(labels(selector, &object).ok(), expected, "{selector}");
        };
        check("", Some(true));
        check("app=api", Some(true));
        check("app=api,tier!=db,tier", Some(true));
        check("app in (x, api),!none", Some(true));
        check("app notin (x,api)", Some(false));
        check("app=other", Some(false));
        check("app in x", None);
        assert_eq!(fields("metadata.name=n", &object), Ok(true));
        assert_eq!(fields("metadata.name!=n", &object), Ok(false));
        assert!(fields("spec.replicas=1", &object).is_err());
    }
}
