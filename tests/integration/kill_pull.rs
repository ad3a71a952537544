//! Pulls in every mode, killed with SIGKILL at random moments: whatever was killed, the tables are what the sources hold, nothing lost and nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::harness::{Mini, temporary};

/// Kills in all; a pull that ended before its kill does not count.
const KILLS: usize = 200;
/// Plants that are killed side by side, each in a process of its own at a time: a pull mostly waits for the disk.
const PLANTS: usize = 4;
/// Rows that each table starts with: enough for a pull to take a moment.
const ROWS: i64 = 2_000;

const PROJECT: &str = "strategy = \"order-driven\"\nstore = \"./store\"
[systems.erp]\nconnector = \"plant\"\nurl = \"sqlite:erp.db\"\n
[systems.drop]\nconnector = \"drop\"\nurl = \"./drop\"\n";
/// A table for each way in which rows come in. `touched` says when a row was last changed, as an application would keep it.
const CONNECTOR: &str = "protocol = \"sql\"
[stream.whole]\nkey = [\"id\"]
[stream.merged]\nkey = [\"id\"]\ncursor = { field = \"touched\", kind = \"integer\" }\nsweep = \"1s\"\nremovals = \"any\"
[stream.marked]\nkey = [\"id\"]\ndeletion_vectors = true
[stream.added]\nkey = [\"id\"]\nmode = \"append\"\ncursor = { field = \"touched\", kind = \"integer\" }
";
const DROP: &str = "protocol = \"files\"\n[stream.lines]\nfiles = { pattern = \"*.csv\", format = \"csv\" }\n";
const TABLES: [&str; 4] = ["whole", "merged", "marked", "added"];

/// Columns of a table as one text, in the source and in the hub.
const SHOWN: &str = "id || '|' || touched || '|' || what";

struct Plant {
    plant: Mini,
    random: ChaCha8Rng,
    step: i64,
}

impl Plant {
    fn new(seed: u64) -> Self {
        let plant = Mini::of(temporary());
        for (path, text) in [
            ("loopline.toml", PROJECT),
            ("connectors/plant/connector.toml", CONNECTOR),
            ("connectors/drop/connector.toml", DROP),
            ("drop/0.csv", "a,b\n1,x\n2,y\n"),
        ] {
            let path = plant.root().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let tables = TABLES.map(|table| {
            format!("create table {table} (id integer primary key not null, touched integer not null, what text);
                with recursive n(i) as (select 1 union all select i + 1 from n where i < {ROWS}) insert into {table} select i, 1, 'row ' || i from n;")
        });
        plant.sql("erp", &tables.concat());
        Self { plant, random: ChaCha8Rng::seed_from_u64(seed), step: 1 }
    }

    fn below(&mut self, bound: i64) -> i64 {
        i64::from(self.random.next_u32()) % bound
    }

    /// A few rows are added, changed and removed in every table that allows it, and a file comes or changes.
    fn change(&mut self) {
        self.step += 1;
        let step = self.step;
        let mut sql = String::new();
        for table in TABLES {
            sql += &format!("insert into {table} select max(id) + 1, {step}, 'new {step}' from {table};");
            if table != "added" {
                let (changed, gone) = (1 + self.below(ROWS), 1 + self.below(ROWS));
                sql += &format!(
                    "update {table} set what = 'changed {step}', touched = {step} where id between {changed} and {changed} + 3;"
                );
                sql += &format!("delete from {table} where id = {gone};");
            }
        }
        self.plant.sql("erp", &sql);
        let file = self.below(step);
        let lines: String = (0..=self.below(50)).map(|line| format!("{line},{step}\n")).collect();
        // An application renames a file into place when it is complete.
        let (half, path) = (self.plant.root().join("half"), self.plant.root().join(format!("drop/{file}.csv")));
        std::fs::write(&half, format!("a,b\n{lines}")).unwrap();
        age(&half);
        std::fs::rename(half, path).unwrap();
    }

    /// What differs between the sources and the hub's tables; empty if nothing does. Until its next sweep the merged table still holds rows that
    /// are gone from the source; `swept`: it does not.
    fn wrong(&self, swept: bool) -> String {
        let mut wrong = String::new();
        for table in TABLES {
            let expected = self.plant.texts("erp", &format!("select {SHOWN} from {table} order by id"));
            let found = self.plant.raw(&format!("erp__{table}"), &["id", "touched", "what"]);
            // A row whose key the source still has must be as it is there.
            let ids: BTreeSet<&str> = expected.iter().map(|row| id_of(row)).collect();
            let is_late = |row: &String| table == "merged" && !swept && !ids.contains(id_of(row));
            let found = found.into_iter().filter(|row| !is_late(row)).collect();
            wrong += &difference(table, expected, found);
        }
        let mut expected = Vec::new();
        for entry in std::fs::read_dir(self.plant.root().join("drop")).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let (name, text) = (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
            expected.extend(
                text.lines().skip(1).enumerate().map(|(row, line)| format!("{}|{name}|{}", line.replace(',', "|"), row + 1)),
            );
        }
        wrong + &difference("lines", expected, self.plant.raw("drop__lines", &["a", "b", "_file", "_row"]))
    }
}

/// A file that was finished some time ago: one that may still be written is left for the next pull.
fn age(path: &std::path::Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    // The content decides the time, so that a changed file never has the time of the one before.
    let seconds = 1_700_000_000
        + std::fs::read_to_string(path).unwrap().bytes().fold(0_u64, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

fn id_of(row: &str) -> &str {
    row.split('|').next().unwrap_or_default()
}

fn difference(table: &str, expected: Vec<String>, found: Vec<String>) -> String {
    let twice = found.len() - found.iter().collect::<BTreeSet<_>>().len();
    let (expected, found): (BTreeSet<_>, BTreeSet<_>) = (expected.into_iter().collect(), found.into_iter().collect());
    let lost: Vec<_> = expected.difference(&found).take(5).collect();
    let more: Vec<_> = found.difference(&expected).take(5).collect();
    if twice == 0 && lost.is_empty() && more.is_empty() {
        return String::new();
    }
    format!("{table}: {twice} rows twice, lost {lost:?}, not in the source {more:?}\n")
}

#[test]
fn pulls_in_every_mode_killed_at_random_moments_lose_and_double_nothing() {
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..PLANTS).map(|number| scope.spawn(move || killed_again_and_again(number as u64, KILLS / PLANTS))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).filter(|wrong| !wrong.is_empty()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn killed_again_and_again(seed: u64, kills: usize) -> String {
    let mut plant = Plant::new(seed);
    let watch = Instant::now();
    plant.plant.json(&["pull"]);
    let mut takes = watch.elapsed();
    let mut when: BTreeMap<u128, usize> = BTreeMap::new();
    let mut killed = 0;
    while killed < kills {
        plant.change();
        let delay = takes.mul_f64(f64::from(plant.random.next_u32()) / f64::from(u32::MAX));
        // Every third time the maintenance of the tables is killed, and now and then a verification with repair.
        let command: &[&str] = match plant.step % 6 {
            2 | 5 => &["maintain"],
            4 => &["verify", "erp", "--repair"],
            _ => &["pull"],
        };
        if plant.plant.kill_after(delay, command) {
            killed += 1;
            *when.entry(delay.as_millis() / 20).or_default() += 1;
            if plant.below(3) > 0 {
                continue; // killed again before anybody had a chance to mend anything
            }
        }
        let watch = Instant::now();
        plant.plant.json(&["pull"]);
        takes = watch.elapsed().max(Duration::from_millis(50));
        let wrong = plant.wrong(false);
        if !wrong.is_empty() {
            return format!("plant {seed}, step {}, after {command:?} was killed after {delay:?}:\n{wrong}", plant.step);
        }
    }
    plant.plant.json(&["pull", "--full"]);
    assert!(when.len() > 2, "the kills were not spread: {when:?}");
    plant.wrong(true)
}
