//! Texts of Jira Cloud: the Atlassian Document Format
//! (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>). A Data Center takes and gives plain text.

use serde_json::{Value, json};

/// Deepest nesting that is read. Deeper is no text for people.
const DEPTH: u32 = 20;

/// A document of plain text; a blank line ends a paragraph.
pub(super) fn of(text: &str) -> Value {
    let mut paragraphs: Vec<Vec<&str>> = vec![Vec::new()];
    for line in text.lines() {
        match (line.trim().is_empty(), paragraphs.last_mut()) {
            (false, Some(paragraph)) => paragraph.push(line),
            _ => paragraphs.push(Vec::new()),
        }
    }
    paragraphs.retain(|lines| !lines.is_empty());
    let content: Vec<Value> = paragraphs
        .iter()
        .map(|lines| {
            let mut nodes = Vec::new();
            for (number, line) in lines.iter().enumerate() {
                if number > 0 {
                    nodes.push(json!({"type": "hardBreak"}));
                }
                nodes.push(json!({"type": "text", "text": line}));
            }
            json!({"type": "paragraph", "content": nodes})
        })
        .collect();
    json!({"type": "doc", "version": 1, "content": content})
}

/// The plain text of a document, or of what is plain text already.
pub(super) fn text(document: &Value) -> String {
    if let Some(text) = document.as_str() {
        return text.to_owned();
    }
    let mut text = String::new();
    read(document, 0, &mut text);
    text.trim().to_owned()
}

fn read(node: &Value, depth: u32, out: &mut String) {
    if depth > DEPTH {
        return;
    }
    match node["type"].as_str() {
        Some("text") => out.push_str(node["text"].as_str().unwrap_or_default()),
        Some("hardBreak") => out.push('\n'),
        Some("mention" | "emoji" | "status" | "date") => {
            out.push_str(node["attrs"]["text"].as_str().unwrap_or_default());
        }
        _ => {}
    }
    for child in node["content"].as_array().into_iter().flatten() {
        read(child, depth + 1, out);
    }
    let block = [
        "paragraph",
        "heading",
        "listItem",
        "codeBlock",
        "blockquote",
        "tableRow",
    ];
    if node["type"].as_str().is_some_and(|kind| block.contains(&kind)) && !out.ends_with('\n') {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let check = |plain: &str, paragraphs: usize, expected: &str| {
            let document = of(plain);
            assert_eq!(document["content"].as_array().unwrap().len(), paragraphs, "{document}");
            assert_eq!(text(&document), expected);
        };
        check("one", 1, "one");
        check("one\ntwo\n\nthree\n", 2, "one\ntwo\nthree");
        check("\n\n one\r\n\n\n\ntwo", 2, "one\ntwo");
        check("", 0, "");
    }

    #[test]
    fn what_people_write() {
        let document = json!({"type": "doc", "version": 1, "content": [
            {"type": "heading", "attrs": {"level": 2}, "content": [{"type": "text", "text": "Heap"}]},
            {"type": "bulletList", "content": [
                {"type": "listItem", "content": [{"type": "paragraph", "content": [
                    {"type": "text", "text": "grows, says "}, {"type": "mention", "attrs": {"id": "1", "text": "@kim"}}]}]},
                {"type": "listItem", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "fast"}]}]},
            ]},
            {"type": "mediaGroup", "content": [{"type": "media"}]},
        ]});
        assert_eq!(text(&document), "Heap\ngrows, says @kim\nfast");
        assert_eq!(text(&json!("plain")), "plain");
        assert_eq!(text(&json!(7)), "");
        let mut deep = json!({"type": "text", "text": "deep"});
        for _ in 0..100 {
            deep = json!({"type": "panel", "content": [deep]});
        }
        assert_eq!(text(&deep), "");
    }
}
