//! An operator's settings as the text that is kept beside its state.

use serde_json::Value;

/// `settings` with the fields of every object in order: one text for the same settings, whatever the order of `serde_json`'s maps, which
/// any crate in the build may change (feature `preserve_order`).
pub(crate) fn settings_text(mut settings: Value) -> String {
    settings.sort_all_objects();
    settings.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_order_at_every_depth() {
        let settings = serde_json::json!({"b": [{"z": 1, "a": 2}], "a": {"d": null, "c": true}});
        assert_eq!(
            settings_text(settings),
            r#"{"a":{"c":true,"d":null},"b":[{"a":2,"z":1}]}"#
        );
    }
}
