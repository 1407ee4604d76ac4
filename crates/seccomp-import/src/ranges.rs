//! Sets of numbers as ranges.

/// Ranges with both ends included, ascending; they neither overlap nor touch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The numbers from `first` to `last`, both included; none where `first` is the larger one.
    pub(crate) fn between(first: u64, last: u64) -> Self {
        Self(if first <= last { vec![(first, last)] } else { Vec::new() })
    }

    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|&(_, last)| last < number);
        self.0.get(at).is_some_and(|&(first, _)| first <= number)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// The numbers up to `most` that are not in the set.
    pub(crate) fn complement(&self, most: u64) -> Self {
        let mut gaps = Vec::new();
        let mut next = Some(0);
        for &(first, last) in &self.0 {
            if let Some(start) = next.filter(|&start| start < first && start <= most) {
                gaps.push((start, most.min(first - 1)));
            }
            next = last.checked_add(1);
        }
        gaps.extend(next.filter(|&start| start <= most).map(|start| (start, most)));
        Self(gaps)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let outside = self.complement(u64::MAX).union(&other.complement(u64::MAX));
        outside.complement(u64::MAX)
    }

    pub(crate) fn is_subset(&self, other: &Self) -> bool {
        self.intersection(other) == *self
    }

    /// The set without those of its ranges that are a single number, and one with bits outside a
    /// mask.
    pub(crate) fn without_single_strangers(mut self, mask: u64) -> Self {
        self.0.retain(|&(first, last)| first != last || first & !mask == 0);
        self
    }
}

/// The union of ranges in any order.
impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut all: Vec<_> = ranges.into_iter().collect();
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sets() {
        let single = |n| Ranges::between(n, n);
        let sets: Vec<_> = (0..64u64)
            .map(|bits| {
                (0..6).filter(|n| bits >> n & 1 == 1).fold(Ranges::none(), |set, n| set.union(&single(n)))
            })
            .collect();
        for a in &sets {
            for most in [0, 3, 7, u64::MAX] {
                let outside = a.complement(most);
                for n in (0..9).chain([u64::MAX]) {
                    assert_eq!(outside.contains(n), n <= most && !a.contains(n), "{n} of {a:?} up to {most}");
                }
            }
            for b in &sets {
                let (both, either) = (a.intersection(b), a.union(b));
                for n in 0..7 {
                    assert_eq!(both.contains(n), a.contains(n) && b.contains(n), "{n} of {a:?} {b:?}");
                    assert_eq!(either.contains(n), a.contains(n) || b.contains(n), "{n} of {a:?} {b:?}");
                }
                assert_eq!(a.is_subset(b), (0..6).all(|n| !a.contains(n) || b.contains(n)), "{a:?} {b:?}");
                for ranges in [&both, &either] {
                    assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
                }
            }
        }
    }
}
