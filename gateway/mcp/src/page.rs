//! Cursors: opaque to clients, checked when they come back.

use rmcp::model::ErrorData;

/// Furthest place that a cursor may name. Higher: the store walks over more rows to throw them away.
pub const FURTHEST: u32 = 100_000;

/// The cursor of `place` in the list `of`.
pub fn cursor(of: &str, place: u32) -> String {
    format!("{of}.{place}")
}

/// Where to go on in the list `of`; 0 without a cursor.
pub fn place(of: &str, cursor: Option<&str>) -> Result<u32, String> {
    let Some(cursor) = cursor else { return Ok(0) };
    let place = cursor.strip_prefix(of).and_then(|rest| rest.strip_prefix('.'));
    let place = place
        .and_then(|place| place.parse().ok())
        .filter(|place| *place <= FURTHEST);
    place.ok_or_else(|| "cursor: it is none that this list gave out: leave it out to begin anew".to_owned())
}

/// A page of a whole list, and the cursor of the next.
pub fn slice<T: Clone>(
    of: &str,
    all: &[T],
    cursor: Option<&str>,
    size: usize,
) -> Result<(Vec<T>, Option<String>), ErrorData> {
    let from = place(of, cursor).map_err(|why| ErrorData::invalid_params(why, None))? as usize;
    let page: Vec<T> = all.iter().skip(from).take(size).cloned().collect();
    let next = from + page.len();
    let more = next < all.len() && !page.is_empty();
    Ok((page, more.then(|| self::cursor(of, next as u32))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_a_list_once_and_no_other_cursor_is_taken() {
        let all: Vec<u32> = (0..7).collect();
        let (mut seen, mut at) = (Vec::new(), None);
        loop {
            let (page, next) = slice("tools", &all, at.as_deref(), 3).unwrap();
            seen.extend(page);
            at = next;
            if at.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        for bad in [
            "",
            "3",
            "tools",
            "tools.",
            "tools.x",
            "tools.-1",
            "incidents.3",
            "tools.100001",
        ] {
            assert!(slice("tools", &all, Some(bad), 3).is_err(), "{bad:?}");
        }
        assert_eq!(slice("tools", &all, Some("tools.70"), 3).unwrap(), (vec![], None));
    }
}
