//! `docs/invariants.md` is current, and ids are what they promise to be.

use std::collections::BTreeSet;
use std::path::PathBuf;

use stream::invariants::{ALL, page};

#[test]
fn the_page_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/invariants.md");
    if std::env::var_os("AEGIS_TEST_REGENERATE").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        current == page(),
        "docs/invariants.md is not current: AEGIS_TEST_REGENERATE=1 cargo test --release --workspace --test invariants_page"
    );
}

#[test]
fn ids_are_unique_in_order_and_each_says_one_sentence() {
    let ids: Vec<&str> = ALL.iter().map(|invariant| invariant.id).collect();
    let sorted: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(sorted.into_iter().collect::<Vec<_>>(), ids);
    for invariant in ALL {
        assert!(
            invariant.says.ends_with('.') && !invariant.says.contains(". "),
            "{}",
            invariant.id
        );
    }
}
