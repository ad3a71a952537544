//! Working time of a resource.

/// Working windows `[start, end)` in microseconds, ascending, apart from each other and not empty.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    windows: Vec<(i64, i64)>,
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
        Self { windows: merged }
    }

    /// The first working instant at or after `at`; none: the calendar has ended.
    pub fn next(&self, at: i64) -> Option<i64> {
        let window = self.windows.partition_point(|(_, end)| *end <= at);
        self.windows.get(window).map(|(start, _)| at.max(*start))
    }

    /// When work of this length ends that starts at the working instant `start` and rests outside the windows; none: the calendar ends before.
    pub fn finish(&self, start: i64, work: i64) -> Option<i64> {
        let first = self.windows.partition_point(|(_, end)| *end <= start);
        let (mut at, mut left) = (start, work);
        for (from, to) in self.windows.get(first..)? {
            at = at.max(*from);
            let window = to.saturating_sub(at);
            if left <= window {
                return Some(at + left);
            }
            left -= window;
        }
        None
    }

    pub fn end(&self) -> Option<i64> {
        self.windows.last().map(|(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
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
    }
}
