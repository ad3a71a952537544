//! The demo plant: writes and advances real source databases.
//!
//! A plant is simulated day by day ([`sim`]) and its records are written as four products that do not look alike ([`product`]) into SQLite
//! files, PostgreSQL schemas or MySQL databases ([`load`]). Nothing is a mock: the hub reads and writes these databases as it would a customer's, and the
//! next simulated day works on from what it finds there ([`feedback`]).
//!
//! The same seed, scale and day make the same rows. What is open is kept beside the clock, in `.loopline/demo/`.

mod bill;
mod calendar;
mod dice;
mod embed;
mod error;
mod feedback;
mod load;
mod master;
mod names;
mod options;
mod plant;
mod product;
mod sim;
#[cfg(test)]
mod tests;
mod write;

use chrono::{Days, NaiveDate};

use crate::base::time::Instant;
use calendar::{day_start, instant};
use master::Master;
use plant::Plant;
use sim::Sim;

pub use embed::{ProjectFiles, may_hold};
pub use error::DemoError;
pub use options::{DemoOptions, DemoSummary, DemoSystem};
use options::{Settings, State, folder};

const CLOCK: &str = "clock";
const STATE: &str = "state.json";
/// Days that one call may add.
const DAYS_MAX: u32 = 366;

/// Makes the plant's databases anew, with its history up to 06:00 UTC of the day, and the project in `dir` where there is none.
///
/// Databases of an earlier demo in the same place are replaced; those files and schemas are nobody else's.
pub async fn create(options: &DemoOptions) -> Result<DemoSummary, DemoError> {
    let settings = Settings::new(options)?;
    let urls = Settings::urls(settings.on.as_deref());
    let project = embed::write_project(&settings.dir, &urls, settings.on.as_deref().and_then(options::secret))?;
    let state = State {
        seed: settings.seed,
        on: settings.on.clone(),
        first_day: settings.first_day(),
        present: settings.today,
        next_day: settings.today,
        plants: Vec::new(),
    };
    let dir = settings.dir.clone();
    let (mut state, written) = match settings.on.clone() {
        Some(url) => write::create_server(state, settings.scale, &url).await?,
        None => {
            let folder = folder(&dir);
            blocking(move || write::create_sqlite(state, settings.scale, &folder)).await?
        }
    };
    write::keep(&dir, &mut state)?;
    Ok(summary(&state, project, &written, 0))
}

/// Simulates `days` more days from where the plant stands, works on from what was changed in its databases, and moves its clock.
///
/// Seed, scale and place are those with which it was made; `options` only names the folder.
pub async fn advance(options: &DemoOptions, days: u32) -> Result<DemoSummary, DemoError> {
    if !(1..=DAYS_MAX).contains(&days) {
        let hint = format!("give a number of days from 1 to {DAYS_MAX}");
        return Err(DemoError::Option { what: format!("cannot advance by {days} days"), hint });
    }
    let dir = options.dir.clone();
    let mut state = write::recall(&dir)?;
    let (mut written, mut ordered) = ([0u64; 4], 0);
    for _ in 0..days {
        let (rows, requests);
        (state, rows, requests) = match state.on.clone() {
            Some(url) => write::advance_server(state, &url).await?,
            None => {
                let folder = folder(&dir);
                blocking(move || write::advance_sqlite(state, &folder)).await?
            }
        };
        written.iter_mut().zip(rows).for_each(|(sum, rows)| *sum += rows);
        ordered += requests;
        write::keep(&dir, &mut state)?;
    }
    Ok(summary(&state, ProjectFiles::Kept, &written, ordered))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, DemoError> + Send + 'static) -> Result<T, DemoError> {
    tokio::task::spawn_blocking(work).await.map_err(DemoError::Task)?
}

/// A plant's whole history.
fn simulate<'a>(master: &'a Master, present: NaiveDate) -> Sim<'a> {
    let mut sim = Sim::open(master, present);
    for day in master.first_day.iter_days().take_while(|day| *day < present) {
        sim.day(day);
    }
    sim
}

impl State {
    /// The plant's instant.
    fn now(&self) -> Instant {
        instant(day_start(self.next_day))
    }

    fn master(&self, plant: u32) -> Master {
        Master::new(self.seed, plant, self.first_day, self.next_day + Days::new(1))
    }
}

fn summary(state: &State, project: ProjectFiles, written: &[u64; 4], requests_ordered: usize) -> DemoSummary {
    let urls = Settings::urls(state.on.as_deref());
    let count = |of: &dyn Fn(&Plant) -> usize| state.plants.iter().map(of).sum();
    let systems = product::PRODUCTS.iter().zip(urls).zip(written);
    DemoSummary {
        now: state.now(),
        project,
        systems: systems.map(|((product, url), rows)| DemoSystem { name: product.system, url, rows: *rows }).collect(),
        open_order_lines: count(&|plant| plant.sales.values().flatten().filter(|line| line.open).count()),
        open_work_orders: count(&|plant| plant.open_work.len()),
        open_purchase_orders: count(&|plant| plant.open_purchases.len()),
        requests_ordered,
    }
}
