//! When the plant works: shifts in local time, holidays, and the arithmetic of work that spans shifts.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Europe::Berlin;

/// Seconds since 1970-01-01T00:00:00Z.
pub type Seconds = i64;
pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 86_400;

/// How many shifts a work centre runs on a working day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    One,
    Two,
    Three,
}

pub const PATTERNS: [Pattern; 3] = [Pattern::One, Pattern::Two, Pattern::Three];

impl Pattern {
    /// The calendar's key in the ERP.
    pub fn code(self) -> &'static str {
        match self {
            Self::One => "1S",
            Self::Two => "2S",
            Self::Three => "3S",
        }
    }

    /// Start and length of each shift: seconds after local midnight, seconds.
    fn shifts(self) -> &'static [(i64, i64)] {
        const EARLY: (i64, i64) = (6 * HOUR, 8 * HOUR);
        const LATE: (i64, i64) = (14 * HOUR, 8 * HOUR);
        const NIGHT: (i64, i64) = (22 * HOUR, 8 * HOUR);
        match self {
            Self::One => &[(7 * HOUR, 8 * HOUR + 30 * MINUTE)],
            Self::Two => &[EARLY, LATE],
            Self::Three => &[EARLY, LATE, NIGHT],
        }
    }

    /// Seconds of work on a working day.
    pub fn day_seconds(self) -> i64 {
        self.shifts().iter().map(|(_, length)| length).sum()
    }
}

/// The shifts of one pattern over a span of days, in order, never overlapping.
#[derive(Debug, Clone)]
pub struct Shifts(Vec<(Seconds, Seconds)>);

impl Shifts {
    /// All shifts that start on a local day in `first..=last`.
    pub fn new(pattern: Pattern, first: NaiveDate, last: NaiveDate) -> Self {
        let mut spans: Vec<(Seconds, Seconds)> = Vec::new();
        for day in first.iter_days().take_while(|day| *day <= last).filter(|day| is_working(*day)) {
            for (start, length) in pattern.shifts() {
                let begin = local(day, *start);
                let end = local(day, start + length);
                // The night in which summer time ends has 25 hours: the next shift starts when the last one has ended.
                let begin = spans.last().map_or(begin, |previous| begin.max(previous.1));
                if end > begin {
                    spans.push((begin, end));
                }
            }
        }
        Self(spans)
    }

    pub fn spans(&self) -> &[(Seconds, Seconds)] {
        &self.0
    }

    /// The shift that is running at `at`.
    pub fn running(&self, at: Seconds) -> Option<(Seconds, Seconds)> {
        let index = self.0.partition_point(|(_, end)| *end <= at);
        self.0.get(index).copied().filter(|(begin, _)| *begin <= at)
    }

    /// The first instant at or after `at` at which a shift is running.
    pub fn next(&self, at: Seconds) -> Option<Seconds> {
        let index = self.0.partition_point(|(_, end)| *end <= at);
        self.0.get(index).map(|(begin, _)| at.max(*begin))
    }

    /// The pieces in which `work` seconds are done when they start at `from`, each within one shift.
    pub fn pieces(&self, from: Seconds, work: i64) -> Vec<(Seconds, Seconds)> {
        let index = self.0.partition_point(|(_, end)| *end <= from);
        let mut left = work;
        let mut pieces = Vec::new();
        for (begin, end) in &self.0[index..] {
            let begin = from.max(*begin);
            let piece = left.min(end - begin);
            pieces.push((begin, begin + piece));
            left -= piece;
            if left <= 0 {
                break;
            }
        }
        pieces
    }

    /// When `work` seconds that start at `from` are done.
    pub fn finish(&self, from: Seconds, work: i64) -> Seconds {
        self.pieces(from, work).last().map_or(from, |(_, end)| *end)
    }
}

/// Whether people work on `day`: Monday to Friday, without fixed holidays.
pub fn is_working(day: NaiveDate) -> bool {
    let weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    let holiday = matches!((day.month(), day.day()), (1, 1) | (5, 1) | (10, 3) | (12, 24..=26) | (12, 31));
    !weekend && !holiday
}

/// The instant `seconds` after local midnight of `day` in the plant's zone, as clocks on the wall show it.
pub fn local(day: NaiveDate, seconds: i64) -> Seconds {
    let day = day + Days::new((seconds / DAY) as u64);
    let seconds = (seconds % DAY) as u32;
    let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap_or(NaiveTime::MIN);
    let wall = day.and_time(time);
    // A wall clock time that does not exist (spring) is read as if the clock had not been moved.
    Berlin.from_local_datetime(&wall).earliest().map_or_else(|| wall.and_utc().timestamp() - HOUR, |instant| instant.timestamp())
}

/// The plant's local day at `at`.
pub fn day_of(at: Seconds) -> NaiveDate {
    instant(at).with_timezone(&Berlin).date_naive()
}

/// `at` as an instant; the epoch where it is out of range.
pub fn instant(at: Seconds) -> DateTime<Utc> {
    DateTime::from_timestamp(at, 0).unwrap_or(DateTime::UNIX_EPOCH)
}

/// The plant's day runs from 06:00 UTC to 06:00 UTC.
pub fn day_start(day: NaiveDate) -> Seconds {
    day.and_time(NaiveTime::MIN).and_utc().timestamp() + 6 * HOUR
}

/// The `count`th working day after `day`; `day` itself if it is a working day and `count` is 0.
pub fn working_days_after(day: NaiveDate, count: i64) -> NaiveDate {
    let mut day = day;
    let mut left = count;
    while !is_working(day) || left > 0 {
        if is_working(day) {
            left -= 1;
        }
        day = day + Days::new(1);
    }
    day
}

/// The nearest working day at or before `day`.
pub fn working_day_before(day: NaiveDate) -> NaiveDate {
    let mut day = day;
    while !is_working(day) {
        day = day - Days::new(1);
    }
    day
}
