//! Vectors by text, bounded: two generations, of which the older is dropped when the younger is half of what may be kept. What was asked for
//! since the last drop stays.

use std::collections::HashMap;

use crate::Vector;

#[derive(Debug)]
pub struct Cache {
    most: usize,
    young: HashMap<String, Vector>,
    old: HashMap<String, Vector>,
}

impl Cache {
    /// At most `most` texts; 0 keeps none.
    pub fn new(most: usize) -> Self {
        Cache {
            most,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub fn get(&mut self, text: &str) -> Option<Vector> {
        if let Some(found) = self.young.get(text) {
            return Some(found.clone());
        }
        let (text, found) = self.old.remove_entry(text)?;
        self.put(text, found.clone());
        Some(found)
    }

    pub fn put(&mut self, text: String, vector: Vector) {
        if self.most == 0 {
            return;
        }
        if self.young.len() >= self.most.div_ceil(2) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text, vector);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(n: usize) -> Vector {
        vec![n as f32].into()
    }

    #[test]
    fn bounded_and_what_is_asked_for_stays() {
        let mut cache = Cache::new(10);
        for n in 0..100 {
            cache.put(n.to_string(), vector(n));
            assert!(cache.len() <= 10, "{}", cache.len());
            // Asked for all the time.
            assert_eq!(cache.get("0"), Some(vector(0)), "after {n}");
        }
        assert_eq!(cache.get("1"), None);
        assert_eq!(cache.get("99"), Some(vector(99)));
    }

    #[test]
    fn none_is_kept_where_none_may_be() {
        let mut cache = Cache::new(0);
        cache.put("a".into(), vector(1));
        assert_eq!(cache.get("a"), None);
    }
}
