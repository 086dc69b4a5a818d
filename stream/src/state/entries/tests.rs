use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn contents(entries: &Entries<u16, u32>) -> BTreeMap<u16, u32> {
    entries.iter().map(|(key, value)| (*key, *value)).collect()
}

#[test]
fn appended_entries_are_found_before_the_table_is_made_and_after() {
    let mut entries = Entries::default();
    for key in 0..100_000u32 {
        entries.append(key, key + 1);
    }
    assert_eq!(entries.find(&99_999), Some(99_999));
    entries.complete();
    assert_eq!(entries.len(), 100_000);
    for key in 0..100_000u32 {
        assert_eq!(entries.find(&key), Some(key as usize));
    }
    assert_eq!(entries.find(&100_000), None);
}

/// Against a plain map: pushes, removals, appends with keys twice, segments filled elsewhere, tables made in between.
#[test]
fn random_histories() {
    let operation = (0u8..7, 0u16..40, any::<u32>());
    proptest!(|(operations in prop::collection::vec(operation, 0..200))| {
        let mut entries = Entries::<u16, u32>::default();
        let mut plain = BTreeMap::new();
        for (kind, key, value) in operations {
            match kind {
                0 => entries.complete(),
                1 => {
                    entries.complete();
                    let removed = entries.find(&key).and_then(|at| entries.swap_remove(at));
                    prop_assert_eq!(removed, plain.remove(&key).map(|value| (key, value)));
                }
                2 => {
                    entries.complete();
                    match entries.find(&key) {
                        Some(at) => *entries.get_mut(at).unwrap() = value,
                        None => { entries.push(key, value); }
                    }
                    plain.insert(key, value);
                }
                3 | 4 => {
                    entries.append(key, value);
                    plain.insert(key, value);
                }
                _ => {
                    let mut filler = Filler::new(entries.hasher().clone(), value as usize % 50);
                    for more in 0..value as u16 % 20 {
                        filler.push(key + more, value);
                        plain.insert(key + more, value);
                    }
                    if let Some(filled) = filler.take() {
                        entries.absorb(filled);
                    }
                }
            }
            prop_assert!(entries.from(0).map(|(at, key, _)| (at, *key)).all(|(at, key)| entries.get(at).unwrap().0 == &key));
            prop_assert_eq!(entries.from(0).count(), entries.len());
            prop_assert_eq!(entries.from(11).count(), entries.from(0).filter(|(at, ..)| *at >= 11).count());
            for key in 0..60 {
                let found = entries.find(&key).and_then(|at| entries.get(at)).map(|(_, value)| *value);
                prop_assert_eq!(found, plain.get(&key).copied());
            }
        }
        entries.complete();
        prop_assert_eq!(entries.len(), plain.len());
        prop_assert_eq!(contents(&entries), plain);
    });
}
