//! How long to search and for what: the one row of the table `settings`, every column of which may be missing.

use std::time::Duration;

use super::super::DecideError;
use super::super::columns::Table;
use super::shop::{Budget, Goal, Term};

/// Iterations where the table does not say: a small plant's plan in about a second. No clock ends them, so that a plan can be repeated.
const ITERATIONS: i64 = 200_000;
/// A shop is searched by both cores of a small machine; more find another plan, not a worse one.
const WALKERS: i64 = 2;
const WALKERS_MAX: i64 = 64;
/// A search that is not through by then ends all the same, and the iterations it did are in its result.
const TIME_LIMIT_S: i64 = 60;

const TERM_NAMES: [(&str, Term); 5] = [
    ("tardiness", Term::Tardiness),
    ("makespan", Term::Makespan),
    ("setup", Term::Setup),
    ("earliness", Term::Earliness),
    ("stability", Term::Stability),
];

#[derive(Debug, Clone)]
pub struct Settings {
    pub budget: Budget,
    pub time_limit: Duration,
    /// Empty: tardiness, then makespan.
    pub goals: Vec<Goal>,
}

pub fn read_settings(table: &Table<'_>) -> Result<Settings, DecideError> {
    if table.len() > 1 {
        return Err(table.bad_value("seed", "given", 1, "there must be one row of settings"));
    }
    let whole = |name: &'static str, default: i64, most: i64| {
        let column = table.bigint(name)?;
        match (0..table.len()).find_map(|row| column.get(row)) {
            Some(value) if !(0..=most).contains(&value) => Err(table.bad_value(name, value, 0, "it is out of range")),
            value => Ok(value.unwrap_or(default).unsigned_abs()),
        }
    };
    let walkers = whole("walkers", WALKERS, WALKERS_MAX)?.max(1) as u32;
    let budget = Budget { iterations: whole("iterations", ITERATIONS, i64::MAX)?, seed: whole("seed", 1, i64::MAX)?, walkers };
    let time_limit = Duration::from_secs(whole("time_limit_s", TIME_LIMIT_S, i64::MAX)?);
    let objective = table.text("objective")?;
    let goals = match (0..table.len()).find_map(|row| objective.get(row)) {
        Some(text) => parse_goals(text).map_err(|problem| table.bad_value("objective", text, 0, problem))?,
        None => vec![],
    };
    Ok(Settings { budget, time_limit, goals })
}

/// `tardiness, 2 setup + 1 earliness, makespan`: what comes first counts first, what is added up counts together.
fn parse_goals(text: &str) -> Result<Vec<Goal>, &'static str> {
    const TERMS: &str = "write tardiness, makespan, setup, earliness, stability: in order, or added up with whole weights, as in 10 tardiness + setup, makespan";
    let mut goals: Vec<Goal> = vec![];
    for (level, part) in (0_u8..8).zip(text.split(',')) {
        for summand in part.split('+') {
            let (weight, name) = match summand.trim().split_once(char::is_whitespace) {
                Some((weight, name)) => {
                    (weight.parse().ok().filter(|weight| (1..=1_000_000_000).contains(weight)).ok_or(TERMS)?, name.trim())
                }
                None => (1, summand.trim()),
            };
            let (_, term) = TERM_NAMES.into_iter().find(|(known, _)| *known == name).ok_or(TERMS)?;
            if goals.iter().any(|goal| goal.term == term) {
                return Err("each term may be named once");
            }
            goals.push(Goal { term, level, weight });
        }
    }
    Ok(goals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_in_order_and_added_up() {
        let goal = |term, level, weight| Goal { term, level, weight };
        assert_eq!(
            parse_goals("10 tardiness + setup, makespan"),
            Ok(vec![goal(Term::Tardiness, 0, 10), goal(Term::Setup, 0, 1), goal(Term::Makespan, 1, 1)])
        );
        for wrong in ["", "lateness", "0 setup", "-1 setup", "1.5 setup", "setup, setup", "setup +"] {
            assert!(parse_goals(wrong).is_err(), "{wrong}");
        }
    }
}
