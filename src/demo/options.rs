//! What the demo can be told, checked; and what it answers.

use std::path::{Path, PathBuf};

use chrono::{Datelike, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use super::DemoError;
use super::embed::ProjectFiles;
use super::load::mysql;
use super::plant::Plant;
use super::product::{PRODUCTS, keys};
use crate::base::time::Instant;

/// Months of history.
const HISTORY_MONTHS: u32 = 18;
const HISTORY_MONTHS_MAX: u32 = 60;

/// Where the demo plant lives and how large it is.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The project's folder; it is made where it does not exist.
    pub dir: PathBuf,
    /// How many plants like the default one, from 1.
    pub scale: u32,
    /// Two runs with the same seed, scale and day make the same databases.
    pub seed: u64,
    /// `postgres://user@host:port/database` for four schemas there, `mysql://user@host:port/name` for four databases whose names begin with that
    /// one; `None` for SQLite files in the folder.
    pub on: Option<String>,
    /// The day on which the history ends (at 06:00 UTC); `None` for today.
    pub today: Option<NaiveDate>,
    /// Months of history, from 1; `None` for 18.
    pub months: Option<u32>,
}

/// What was made or added.
#[derive(Debug, Clone)]
pub struct DemoSummary {
    /// The plant's instant now.
    pub now: Instant,
    pub project: ProjectFiles,
    /// Each system, its address, and how many rows were written.
    pub systems: Vec<DemoSystem>,
    pub open_order_lines: usize,
    pub open_work_orders: usize,
    pub open_purchase_orders: usize,
    /// Purchase requests of the hub that the buyer turned into orders.
    pub requests_ordered: usize,
}

#[derive(Debug, Clone)]
pub struct DemoSystem {
    pub name: &'static str,
    pub url: String,
    pub rows: u64,
}

/// Checked options.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    pub scale: u32,
    pub seed: u64,
    pub on: Option<String>,
    pub today: NaiveDate,
    pub months: u32,
}

/// What is kept between two days, beside the clock.
#[derive(Serialize, Deserialize)]
pub struct State {
    pub seed: u64,
    pub on: Option<String>,
    pub first_day: NaiveDate,
    /// The day on which the plant was made.
    pub present: NaiveDate,
    /// The day that is simulated next.
    pub next_day: NaiveDate,
    pub plants: Vec<Plant>,
}

impl Settings {
    pub fn new(options: &DemoOptions) -> Result<Self, DemoError> {
        let refuse = |what: String, hint: &str| Err(DemoError::Option { what, hint: hint.into() });
        if !(1..=keys::PLANTS_MAX).contains(&options.scale) {
            return refuse(format!("scale {} is out of range", options.scale), "give a scale from 1 to 90");
        }
        let today = options.today.unwrap_or_else(|| Utc::now().date_naive());
        if !(2000..=2090).contains(&today.year()) {
            return refuse(format!("day {today} is out of range"), "give a day from 2000 to 2090");
        }
        let months = options.months.unwrap_or(HISTORY_MONTHS);
        if !(1..=HISTORY_MONTHS_MAX).contains(&months) {
            return refuse(format!("a history of {months} months is out of range"), "give 1 to 60 months");
        }
        if let Some(url) = &options.on {
            check_url(url)?;
        }
        let on = options.on.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        Ok(Self { dir: options.dir.clone(), scale: options.scale, seed: options.seed, on, today, months })
    }

    pub fn first_day(&self) -> NaiveDate {
        self.today - Months::new(self.months)
    }

    /// The address of each system, as loopline.toml has it.
    pub fn urls(on: Option<&str>) -> Vec<String> {
        PRODUCTS
            .iter()
            .map(|product| match on {
                Some(url) if mysql::speaks(url) => {
                    let server = url.rsplit_once('/').map_or(url, |(server, _)| server);
                    format!("{server}/{}", schema(url, product.system))
                }
                Some(url) => format!("{url}?schema={}", schema(url, product.system)),
                None => format!("sqlite:.loopline/demo/{}.sqlite", product.system),
            })
            .collect()
    }
}

/// The schema of a system in PostgreSQL, its database in MySQL.
pub fn schema(url: &str, system: &str) -> String {
    match url.rsplit_once('/') {
        Some((_, name)) if mysql::speaks(url) => format!("{name}_loopline_demo_{system}"),
        _ => format!("loopline_demo_{system}"),
    }
}

/// The folder of the plant's own files.
pub fn folder(dir: &Path) -> PathBuf {
    dir.join(".loopline").join("demo")
}

/// The variable with the password of the databases at `url`, if it is set.
pub fn secret(url: &str) -> Option<&'static str> {
    let name = if mysql::speaks(url) { "MYSQL_PWD" } else { "PGPASSWORD" };
    std::env::var_os(name).map(|_| name)
}

fn check_url(text: &str) -> Result<(), DemoError> {
    let refuse = |what: &str, hint: &str| Err(DemoError::Option { what: what.into(), hint: hint.into() });
    const FORM: &str = "give postgres://user@host:port/database or mysql://user@host:port/name";
    let Ok(url) = Url::parse(text) else { return refuse("the address of the databases is not a URL", FORM) };
    if url.password().is_some() {
        return refuse("the address of the databases holds a password", "put it into PGPASSWORD (MySQL: MYSQL_PWD) instead");
    }
    if !matches!(url.scheme(), "postgres" | "postgresql" | "mysql" | "mariadb") {
        return refuse("the databases can only be in PostgreSQL, MySQL or MariaDB", FORM);
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || url.path().trim_matches('/').is_empty()
        || text.contains(['"', '\'', '`', '\\', '\n'])
    {
        return refuse("the address of the databases is more, or less, than a database", FORM);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(scale: u32, on: Option<&str>, today: &str) -> String {
        let options = DemoOptions {
            dir: ".".into(),
            scale,
            seed: 1,
            on: on.map(Into::into),
            today: Some(today.parse().unwrap()),
            months: None,
        };
        Settings::new(&options).unwrap_err().to_string()
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(refused(0, None, "2026-01-01"), "demo: scale 0 is out of range");
        assert_eq!(refused(1, None, "9026-01-01"), "demo: day 9026-01-01 is out of range");
        let message = refused(1, Some("postgres://me:secret@host/db"), "2026-01-01");
        assert_eq!(message, "demo: the address of the databases holds a password");
        assert_eq!(
            refused(1, Some("mssql://host/db"), "2026-01-01"),
            "demo: the databases can only be in PostgreSQL, MySQL or MariaDB"
        );
        assert!(refused(1, Some("postgres://host"), "2026-01-01").contains("more, or less"));
    }
}
