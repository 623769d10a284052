//! A bounded map that forgets what was not used lately.

use std::{collections::HashMap, hash::Hash};

/// Holds a bounded number of values. Values used among the last half of that many keys are never
/// forgotten.
///
/// Two generations replace a list in the order of use: when the younger one is full, the elder one is dropped. So no search
/// for the least recently used value is needed.
#[derive(Debug)]
pub(in crate::backend) struct RecentMap<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The most values in one generation.
    most: usize,
}

impl<K: Clone + Eq + Hash, V: Default> RecentMap<K, V> {
    pub(in crate::backend) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: (most / 2).max(1) }
    }

    /// Returns the key's value, or the default one if the key is new or was forgotten.
    pub(in crate::backend) fn entry(&mut self, key: &K) -> &mut V {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key).unwrap_or_default();
            if self.young.len() >= self.most {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key.clone(), value);
        }
        self.young.entry(key.clone()).or_default()
    }

    /// Returns the key's value, if it is there. Does not count as use.
    pub(in crate::backend) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    #[cfg(test)]
    pub(in crate::backend) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut map = RecentMap::new(100);
        *map.entry(&0) = "kept";
        for key in 1..10_000 {
            *map.entry(&key) = "passing";
            assert_eq!(*map.entry(&0), "kept");
            assert!(map.len() <= 100, "{}", map.len());
        }
        assert_eq!((map.get(&1), map.get(&9999)), (None, Some(&"passing")));
        assert_eq!(*map.entry(&1), "", "as if it had never been there");
    }
}
