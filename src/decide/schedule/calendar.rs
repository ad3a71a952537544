//! Working time of a resource.

/// After this instant there is nothing: far beyond all dates, and far enough from overflow.
pub const NEVER: i64 = i64::MAX / 4;

/// Working windows `[start, end)` in microseconds, ascending, apart from each other and not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    windows: Vec<(i64, i64)>,
    /// For each span of `1 << shift` microseconds from the first start on: the first window that ends in or after it.
    index: Vec<u32>,
    shift: u32,
}

impl Calendar {
    /// Windows that overlap or touch become one; empty ones do not matter.
    pub fn new(mut windows: Vec<(i64, i64)>) -> Self {
        windows.retain(|(start, end)| start < end);
        windows.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(windows.len());
        for (start, end) in windows {
            match merged.last_mut().filter(|last| start <= last.1) {
                Some(last) => last.1 = last.1.max(end),
                None => merged.push((start, end)),
            }
        }
        let (mut index, mut shift) = (Vec::new(), 0);
        if let (Some((first, _)), Some((last, _))) = (merged.first(), merged.last()) {
            let span = last.saturating_sub(*first);
            while span >> shift > 2 * merged.len() as i64 {
                shift += 1;
            }
            let mut window = 0;
            for bucket in 0..=span >> shift {
                while window + 1 < merged.len() && merged[window].1 <= first + (bucket << shift) {
                    window += 1;
                }
                index.push(window as u32);
            }
        }
        Self { windows: merged, index, shift }
    }

    /// The first window that ends after this instant.
    fn window(&self, at: i64) -> usize {
        let Some((first, _)) = self.windows.first().filter(|first| at >= first.1) else { return 0 };
        let bucket = ((at.saturating_sub(*first)) >> self.shift) as usize;
        let from = self.index[bucket.min(self.index.len() - 1)] as usize;
        let to = self.index.get(bucket + 1).map_or(self.windows.len(), |window| *window as usize + 1);
        from + self.windows[from..to].partition_point(|(_, end)| *end <= at)
    }

    /// The first working instant at or after `at`; none: the calendar has ended.
    pub fn next(&self, at: i64) -> Option<i64> {
        self.windows.get(self.window(at)).map(|(start, _)| at.max(*start))
    }

    /// When work of this length ends that starts at the working instant `start` and rests outside the windows; none: the calendar ends before.
    pub fn finish(&self, start: i64, work: i64) -> Option<i64> {
        self.run(start, work, true).map(|(_, end)| end)
    }

    /// The earliest start and end of work of this length from `at` on. It rests outside the windows, or needs all its time in one window.
    pub fn run(&self, at: i64, work: i64, interruptible: bool) -> Option<(i64, i64)> {
        let first = self.window(at);
        let start = at.max(self.windows.get(first)?.0);
        let mut left = work;
        for (from, to) in &self.windows[first..] {
            let from = at.max(*from);
            let window = to - from;
            if left <= window {
                return Some((if interruptible { start } else { from }, from + left));
            }
            left -= if interruptible { window } else { 0 };
        }
        None
    }

    /// The latest start of work of this length that ends at or before `by`.
    pub fn latest(&self, by: i64, work: i64, interruptible: bool) -> Option<i64> {
        let mut left = work;
        let windows = self.windows.get(..=self.window(by)).unwrap_or(&self.windows);
        for (from, to) in windows.iter().rev() {
            let to = by.min(*to);
            // without work the end of a window is no working instant
            if left <= to - from && (left > 0 || from <= &to) {
                return Some(to - left);
            }
            left -= if interruptible { (to - from).max(0) } else { 0 };
        }
        None
    }

    /// Working time between two instants.
    #[cfg(test)]
    pub fn work(&self, from: i64, to: i64) -> i64 {
        let windows = self.windows.iter().skip(self.window(from)).take_while(|(start, _)| *start < to);
        windows.map(|(start, end)| to.min(*end) - from.max(*start)).sum()
    }

    pub fn end(&self) -> Option<i64> {
        self.windows.last().map(|(_, end)| *end)
    }

    pub fn windows(&self) -> &[(i64, i64)] {
        &self.windows
    }

    /// What is working time here and there.
    pub fn both(&self, other: &Self) -> Self {
        let (mut windows, mut there) = (Vec::new(), other.windows.as_slice());
        for (start, end) in &self.windows {
            while let Some((from, to)) = there.first().filter(|window| window.0 < *end) {
                windows.push((*start.max(from), *end.min(to)));
                if to > end {
                    break;
                }
                there = &there[1..];
            }
        }
        Self::new(windows)
    }

    /// This calendar without times at which the resource is down.
    pub fn without(&self, down: Vec<(i64, i64)>) -> Self {
        let mut up = Vec::new();
        let mut from = i64::MIN;
        for (start, end) in Self::new(down).windows {
            up.push((from, start));
            from = end;
        }
        up.push((from, i64::MAX));
        self.both(&Self { windows: up, index: Vec::new(), shift: 0 })
    }

    /// This calendar, and from `horizon` on always.
    pub fn open_end(&self, horizon: i64) -> Self {
        let mut windows = self.windows.clone();
        windows.push((horizon, NEVER));
        Self::new(windows)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn work_rests_between_windows() {
        let calendar = Calendar::new(vec![(20, 30), (0, 5), (5, 10), (8, 9), (40, 40)]);
        assert_eq!(
            (calendar.next(-3), calendar.next(10), calendar.next(25), calendar.next(30)),
            (Some(0), Some(20), Some(25), None)
        );
        assert_eq!(calendar.finish(3, 7), Some(10));
        assert_eq!(calendar.finish(3, 8), Some(21));
        assert_eq!(calendar.finish(3, 17), Some(30));
        assert_eq!(calendar.finish(3, 18), None);
        assert_eq!(calendar.end(), Some(30));
        assert_eq!(calendar.run(5, 8, false), Some((20, 28)));
        assert_eq!(calendar.without(vec![(2, 3), (9, 22)]), Calendar::new(vec![(0, 2), (3, 9), (22, 30)]));
    }

    /// Instants 0 to 99, of which some are working time.
    fn calendars() -> impl Strategy<Value = (Vec<bool>, Calendar)> {
        prop::collection::vec((0..100_i64, 0..20_i64), 0..9).prop_map(|windows| {
            let works = |at: i64| windows.iter().any(|(start, length)| (*start..(start + length).min(100)).contains(&at));
            let windows = windows.iter().map(|(start, length)| (*start, (start + length).min(100))).collect();
            ((0..100).map(works).collect(), Calendar::new(windows))
        })
    }

    /// Runs instant by instant.
    fn slow(works: &[bool], at: i64, work: i64, interruptible: bool) -> Option<(i64, i64)> {
        let at = at.max(0) as usize;
        let mut starts = (at..100).filter(|at| works[*at]);
        let end = |start: usize| {
            let mut hours = (start..100).filter(|at| interruptible && works[*at] || works[start..=*at].iter().all(|w| *w));
            if work == 0 { Some(start as i64) } else { hours.nth(work as usize - 1).map(|last| last as i64 + 1) }
        };
        starts.find_map(|start| Some((start as i64, end(start)?)))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn as_instant_by_instant((works, calendar) in calendars(), other in calendars(), at in -5..105_i64, work in 0..30_i64, rest: bool) {
            prop_assert_eq!(calendar.run(at, work, rest), slow(&works, at, work, rest));
            let both: Vec<(i64, i64)> = (0..100).filter(|at| works[*at as usize] && other.0[*at as usize]).map(|at| (at, at + 1)).collect();
            prop_assert_eq!(calendar.both(&other.1), Calendar::new(both));
            let count = (at.max(0)..(at + work).min(100)).filter(|at| works[*at as usize]).count();
            prop_assert_eq!(calendar.work(at, at + work), count as i64);
            if work > 0 {
                let latest = (-1..100).rev().find(|start| slow(&works, *start, work, rest).is_some_and(|run| run.1 <= at && run.0 == *start));
                prop_assert_eq!(calendar.latest(at, work, rest), latest);
            }
        }
    }
}
