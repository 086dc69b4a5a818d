//! A weakness that a scanner of GitHub tells of, by the structured name that its signals carry: no text is read.

/// Which alert of which repository a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weakness<'a> {
    /// `owner/name`.
    pub repository: &'a str,
    /// As GitHub calls the event: `code_scanning_alert`.
    pub kind: &'a str,
    pub number: u64,
}

impl<'a> Weakness<'a> {
    /// The events that tell of weaknesses.
    pub const KINDS: [&'static str; 4] = [
        "code_scanning_alert",
        "dependabot_alert",
        "secret_scanning_alert",
        "repository_vulnerability_alert",
    ];

    /// Reads a dedup key: `gh:owner/name:kind:number`. `None` for every other.
    pub fn of(dedup_key: &'a str) -> Option<Self> {
        let mut parts = dedup_key.strip_prefix("gh:")?.split(':');
        let found = Weakness {
            repository: parts.next()?,
            kind: parts.next()?,
            number: parts.next()?.parse().ok()?,
        };
        let whole = parts.next().is_none() && found.repository.split('/').count() == 2;
        (whole && Self::KINDS.contains(&found.kind)).then_some(found)
    }

    /// Whoever has the secret can use it.
    pub fn secret(&self) -> bool {
        self.kind == "secret_scanning_alert"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let check = |key: &str, expected: Option<(&str, &str, u64)>| {
            let found = Weakness::of(key).map(|one| (one.repository, one.kind, one.number));
            assert_eq!(found, expected, "{key}");
        };
        check(
            "gh:shop/cart:dependabot_alert:4",
            Some(("shop/cart", "dependabot_alert", 4)),
        );
        for other in [
            "gh:shop/cart:deployment_status:11:12",
            "gh:shop/cart:workflow_run:4",
            "gh:shop/cart:dependabot_alert:x",
            "gh:shop/cart:dependabot_alert:4:5",
            "gh:cart:dependabot_alert:4",
            "am:shop/cart:dependabot_alert:4",
            "",
        ] {
            check(other, None);
        }
    }
}
