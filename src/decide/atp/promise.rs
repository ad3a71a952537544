//! Promising one item at one site.

use crate::decide::quantity::{Date, Day, Micro, Units};

use super::steps::Steps;

/// More than any supply: the slack of a day on which nothing is promised.
const UNLIMITED: Micro = 10_i128.pow(30);

/// A line of a sales order.
#[derive(Debug, Clone)]
pub struct Line {
    /// Rank of the line's id among all, so that ids compare as text.
    pub rank: usize,
    pub requested: Option<Day>,
    pub promised: Option<Day>,
    pub quantity: Micro,
    pub priority: Option<i64>,
}

/// What a promise rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    Stock,
    Receipt,
    LeadTime,
}

/// The answer for one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub available: Option<Day>,
    pub basis: Option<Basis>,
    pub reason: String,
}

/// Everything that one item at one site can promise from.
pub struct Offer {
    pub today: Day,
    /// Days until a replenishment ordered today is there, or why that is not known.
    pub lead: Result<Day, String>,
    /// (day, quantity that is there from that day on and is not taken away later), both ascending.
    supply: Vec<(Day, Micro)>,
}

impl Offer {
    /// `receipts` in any order; overdue ones count today. A negative one is taken away from what is there before it.
    pub fn new(today: Day, lead: Result<Day, String>, mut receipts: Vec<(Day, Micro)>) -> Self {
        receipts.push((today, 0));
        receipts.iter_mut().for_each(|(day, _)| *day = (*day).max(today));
        receipts.sort_unstable();
        let mut supply: Vec<(Day, Micro)> = Vec::new();
        let mut total = 0;
        for (day, quantity) in receipts {
            total += quantity;
            match supply.last_mut().filter(|last| last.0 == day) {
                Some(last) => last.1 = total,
                None => supply.push((day, total)),
            }
        }
        for at in (1..supply.len()).rev() {
            supply[at - 1].1 = supply[at - 1].1.min(supply[at].1);
        }
        Self { today, lead, supply }
    }

    /// What is there on a day, today or later.
    fn on(&self, day: Day) -> Micro {
        let after = self.supply.partition_point(|(from, _)| *from <= day);
        after.checked_sub(1).map_or(0, |at| self.supply[at].1)
    }

    /// The first day on which this much is there.
    fn covers(&self, quantity: Micro) -> Option<Day> {
        let at = self.supply.partition_point(|(_, total)| *total < quantity);
        self.supply.get(at).map(|(day, _)| *day)
    }

    /// The day of a replenishment ordered now.
    fn replenished(&self) -> Option<Day> {
        self.lead.as_ref().ok().map(|lead| self.today.saturating_add(*lead))
    }

    /// The earlier of a day on which supply is there and a replenishment, never before `wish`.
    fn answer(&self, wish: Day, supply: Option<(Day, Day)>, quantity: Micro, ahead: Micro) -> Answer {
        let replenished = self.replenished().map(|day| day.max(wish));
        match (supply, replenished) {
            (Some((day, there)), limit) if limit.is_none_or(|limit| day <= limit) => {
                let basis = if there <= self.today { Basis::Stock } else { Basis::Receipt };
                let source = if there <= self.today { "stock".to_owned() } else { format!("supply by {}", Date(there)) };
                let reason =
                    format!("{source} of {} covers {} after {} promised", Units(self.on(there)), Units(quantity), Units(ahead));
                Answer { available: Some(day), basis: Some(basis), reason }
            }
            (_, Some(day)) => {
                let total = self.supply.last().map_or(0, |last| last.1);
                let lead = day.max(self.today).abs_diff(self.today).min(self.lead.as_ref().map_or(0, |lead| lead.unsigned_abs()));
                let when = if supply.is_some() { "not until later" } else { "never" };
                let reason = format!(
                    "supply of {} covers {} {when}: replenished within the lead time of {lead} days",
                    Units(total),
                    Units(quantity)
                );
                Answer { available: Some(day), basis: Some(Basis::LeadTime), reason }
            }
            (_, None) => {
                let why = self.lead.as_ref().err().map_or("", String::as_str);
                let total = self.supply.last().map_or(0, |last| last.1);
                let reason =
                    format!("supply of {} never covers {}, and no lead time is known: {why}", Units(total), Units(quantity));
                Answer { available: None, basis: None, reason }
            }
        }
    }
}

/// The promised lines' reservations, on every day that matters.
struct Book {
    days: Vec<Day>,
    /// Supply that is not reserved, counting reservations at their promise; negative while a line is late.
    free: Steps,
    /// By how much the reservations of a day could be pushed back without being later than they are.
    slack: Steps,
}

/// Answers all lines of one item at one site, in the order given.
pub fn promise(offer: &Offer, lines: &[Line]) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = lines.iter().map(refuse).collect();
    let mut order: Vec<usize> = (0..lines.len()).filter(|line| answers[*line].is_none()).collect();
    order.sort_unstable_by_key(|at| by_promise(&lines[*at]));
    let mut reserved: Vec<(Day, Micro, Micro)> = Vec::new(); // promise day, quantity, slack
    let mut ahead = 0;
    for at in order.iter().copied() {
        let line = &lines[at];
        let Some(promised) = line.promised.map(|day| day.max(offer.today)) else { continue };
        let there = offer.covers(ahead + line.quantity);
        answers[at] = Some(offer.answer(promised, there.map(|there| (promised.max(there), there)), line.quantity, ahead));
        if let Some(there) = there {
            ahead += line.quantity;
            reserved.push((promised, line.quantity, offer.on(promised.max(there)) - ahead));
        }
    }
    let mut book = Book::new(offer, lines, &reserved);
    order.retain(|at| lines[*at].promised.is_none());
    order.sort_unstable_by_key(|at| by_request(&lines[*at]));
    for at in order {
        answers[at] = Some(book.place(offer, &lines[at]));
    }
    answers.into_iter().flatten().collect()
}

fn refuse(line: &Line) -> Option<Answer> {
    let reason = || format!("not promised: its quantity of {} is negative", Units(line.quantity));
    (line.quantity < 0).then(|| Answer { available: None, basis: None, reason: reason() })
}

fn by_promise(line: &Line) -> (Option<Day>, bool, Option<i64>, usize) {
    (line.promised, line.priority.is_none(), line.priority, line.rank)
}

fn by_request(line: &Line) -> (bool, Option<i64>, Option<Day>, usize) {
    (line.priority.is_none(), line.priority, line.requested, line.rank)
}

/// The first day on which a line without promise may be had.
fn wish(offer: &Offer, line: &Line) -> Day {
    line.requested.map_or(offer.today, |day| day.max(offer.today))
}

impl Book {
    fn new(offer: &Offer, lines: &[Line], reserved: &[(Day, Micro, Micro)]) -> Self {
        let mut days: Vec<Day> = offer.supply.iter().map(|(day, _)| *day).collect();
        days.extend(reserved.iter().map(|(day, _, _)| *day));
        days.extend(lines.iter().filter(|line| line.promised.is_none()).map(|line| wish(offer, line)));
        days.sort_unstable();
        days.dedup();
        let (mut free, mut slack) = (Vec::with_capacity(days.len()), Vec::with_capacity(days.len()));
        let mut reserved = reserved.iter().peekable();
        let mut taken = 0;
        for day in &days {
            let mut least = UNLIMITED;
            while let Some((_, quantity, spare)) = reserved.next_if(|(promised, _, _)| promised <= day) {
                taken += quantity;
                least = least.min(*spare);
            }
            free.push(offer.on(*day) - taken);
            slack.push(least);
        }
        Self { days, free: Steps::new(&free), slack: Steps::new(&slack) }
    }

    /// Reserves a line as early as it may be: enough must be free on that day, and every later day must have the slack to be pushed back.
    fn place(&mut self, offer: &Offer, line: &Line) -> Answer {
        let wish = wish(offer, line);
        let first = self.days.partition_point(|day| *day < wish);
        let blocked = self.slack.last_below(line.quantity).filter(|at| *at > first);
        let found = self.free.first_at_least(blocked.map_or(first, |at| at + 1), line.quantity);
        let ahead = |at: usize| offer.on(self.days[at]) - self.free.get(at);
        let supply = found.map(|at| (self.days[at], offer.covers(ahead(at) + line.quantity).unwrap_or(self.days[at])));
        let answer = offer.answer(wish, supply, line.quantity, found.map_or(0, ahead));
        if let Some(at) = found.filter(|_| answer.basis != Some(Basis::LeadTime)) {
            self.free.add_from(at, -line.quantity);
            self.slack.add_from(at + 1, -line.quantity);
            self.slack.set(at, self.free.get(at));
        }
        answer
    }
}
