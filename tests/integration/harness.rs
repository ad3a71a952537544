//! The plant of `tests/fixtures/mini` in a folder of its own, the real binary, and what of the plant can be compared afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use loopline::base::TableName;
use loopline::pipeline::{Access, Hub};
use loopline::project::Project;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

/// The fixture's systems; each is `<system>.db`, made by `sources/<system>.sql`.
pub const SYSTEMS: [&str; 2] = ["erp", "wms"];

/// Columns that number runs and pulls or hold the wall clock: they differ between two plants to which the same happened. So does `detail`, which
/// says how the outcome became known.
const INCIDENTAL: [&str; 7] = ["_pull", "run", "planned_at", "approved_at", "sent_at", "closed_at", "detail"];

const CONTROL: [&str; 4] = ["control.sqlite", "control.sqlite-wal", "control.sqlite-shm", "control.lock"];

/// A run of this plant takes a second; longer than this it hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs after which nothing may be left to do.
const RUNS_MAX: usize = 4;

/// Name of a table (or of a system's table) → its rows as JSON, sorted.
pub type Rows = BTreeMap<String, Vec<String>>;

pub struct Mini {
    folder: TempDir,
    /// What commands find in their environment besides this process's own.
    environment: Vec<(&'static str, String)>,
}

/// A process that stands still at a failpoint.
pub struct Standing {
    child: Child,
}

impl Drop for Standing {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Mini {
    /// The fixture with its source databases, before the first run.
    pub fn new() -> Self {
        let folder = temporary();
        copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mini"), folder.path());
        let mini = Self::of(folder);
        mini.happen("");
        mini
    }

    /// Another project than the fixture.
    pub fn of(folder: TempDir) -> Self {
        Self { folder, environment: Vec::new() }
    }

    pub fn set_environment(&mut self, environment: Vec<(&'static str, String)>) {
        self.environment = environment;
    }

    /// The same plant in the same state, somewhere else.
    pub fn copy(&self) -> Self {
        let folder = temporary();
        copy_folder(self.root(), folder.path());
        Self { folder, environment: self.environment.clone() }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Does in the systems what `sources/<day>.<system>.sql` says.
    pub fn happen(&self, day: &str) {
        for system in SYSTEMS {
            let name = if day.is_empty() { format!("{system}.sql") } else { format!("{day}.{system}.sql") };
            self.sql(system, &std::fs::read_to_string(self.root().join("sources").join(name)).unwrap());
        }
    }

    /// Does something by hand in a system.
    pub fn sql(&self, system: &str, sql: &str) {
        let sql = format!("begin; {sql}; commit;");
        self.database(system).execute_batch(&sql).unwrap_or_else(|error| panic!("{system}: {error}: {sql}"));
    }

    /// One column of a question to a system.
    pub fn texts(&self, system: &str, sql: &str) -> Vec<String> {
        let database = self.database(system);
        let mut statement = database.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn database(&self, system: &str) -> Connection {
        let database = Connection::open(self.root().join(format!("{system}.db"))).unwrap();
        // Where the test runs, the sources need not survive a power cut.
        database.pragma_update(None, "synchronous", "off").unwrap();
        database
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loopline"));
        command.arg("--project").arg(self.root()).args(arguments).current_dir(self.root());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env_remove("LOOPLINE_FAILPOINT").stdin(Stdio::null());
        command
    }

    pub fn loopline(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A command that must succeed, and its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let said = self.loopline(&[arguments, &["--json"]].concat());
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Runs `pipeline` until a run finds nothing left to do; returns how many runs that took, the idle one included.
    pub fn settle(&self, pipeline: &str) -> usize {
        let mut report = Value::Null;
        for run in 1..=RUNS_MAX {
            report = self.json(&["run", pipeline]);
            if idle(&report) {
                return run;
            }
        }
        panic!("after {RUNS_MAX} runs there is still something to do: {report:#}");
    }

    /// Starts a command and waits until it stands still at `failpoint`; it is killed when the returned value is dropped.
    pub fn stand_at(&self, failpoint: &str, arguments: &[&str]) -> Standing {
        let mut command = self.command(arguments);
        let mut child =
            command.env("LOOPLINE_FAILPOINT", failpoint).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let standing = Standing { child };
        let (said, heard) = channel();
        std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let deadline = Instant::now() + DEADLINE;
        let reached = format!("failpoint {} reached", failpoint.split(':').next().unwrap());
        loop {
            match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(&reached) => return standing,
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("{arguments:?} ended without reaching failpoint {failpoint}"),
                Err(RecvTimeoutError::Timeout) => panic!("{arguments:?} neither reached failpoint {failpoint} nor ended"),
            }
        }
    }

    /// Starts a command and kills it after `delay`; `false` if it had ended before.
    pub fn kill_after(&self, delay: Duration, arguments: &[&str]) -> bool {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + delay;
        while Instant::now() < until {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(&mut child)
    }

    /// The files of the control state and their contents, as a backup holds them.
    pub fn control(&self) -> Vec<(&'static str, Vec<u8>)> {
        CONTROL.into_iter().filter_map(|name| Some((name, std::fs::read(self.root().join("store").join(name)).ok()?))).collect()
    }

    /// Puts a backup in the control state's place.
    pub fn restore_control(&self, backup: &[(&'static str, Vec<u8>)]) {
        self.lose_control();
        for (name, bytes) in backup {
            std::fs::write(self.root().join("store").join(name), bytes).unwrap();
        }
    }

    /// Removes the control state, as a lost disk would.
    pub fn lose_control(&self) {
        for file in CONTROL {
            let _ = std::fs::remove_file(self.root().join("store").join(file));
        }
        assert!(!self.root().join("store/control.sqlite").exists());
    }

    /// Every row of the systems, and every write that they ever saw.
    pub fn targets(&self) -> Rows {
        let mut rows = Rows::new();
        for system in SYSTEMS {
            for table in self.texts(system, "select name from sqlite_schema where type = 'table' order by name") {
                let columns = self.texts(system, &format!("select quote(name) from pragma_table_info('{table}')"));
                let object: Vec<String> = columns.iter().map(|name| format!("{name}, \"{}\"", name.trim_matches('\''))).collect();
                let sql = format!("select json_object({}) from \"{table}\" order by 1", object.join(", "));
                rows.insert(format!("{system}.{table}"), self.texts(system, &sql));
            }
        }
        rows
    }

    /// Every row of every table of the last complete cut, without what is incidental.
    pub fn cut(&self) -> Rows {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.read_cut(&|_| true))
    }

    /// Every row of the last complete cut's tables in `schemas`, without what is incidental.
    pub fn tables_of(&self, schemas: &[&str]) -> Rows {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.read_cut(&|schema| schemas.contains(&schema)))
    }

    /// The rows of the latest version of a pulled table, these columns as text joined by `|`.
    pub fn raw(&self, name: &str, columns: &[&str]) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let project = Project::load(self.root()).unwrap_or_else(|errors| panic!("{errors:#?}"));
            let hub = Hub::open(Arc::new(project), Access::Read).await.unwrap();
            let Some(version) = hub.store.latest(&TableName::new("raw", name)).await.unwrap() else { return Vec::new() };
            let batches: Vec<RecordBatch> = hub.store.read(&version).try_collect().await.unwrap();
            let text = |batch: &RecordBatch, row: usize| {
                let cell = |column: &&str| array_value_to_string(batch.column_by_name(column).unwrap(), row).unwrap();
                columns.iter().map(cell).collect::<Vec<_>>().join("|")
            };
            batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| text(batch, row)).collect::<Vec<_>>()).collect()
        })
    }

    /// Rows of a question to the last complete cut.
    pub fn ask(&self, sql: &str) -> Vec<Value> {
        let said = self.loopline(&["sql", "--json", "--limit", "100000", sql]);
        assert_eq!(said.code, Some(0), "{sql}: {said:?}");
        said.stdout.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn read_cut(&self, wanted: &dyn Fn(&str) -> bool) -> Rows {
        let project = Project::load(self.root()).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let hub = Hub::open(Arc::new(project), Access::Read).await.unwrap();
        let Some(cut) = hub.store.cut().await.unwrap() else { return Rows::new() };
        let reader = hub.reader().await.unwrap();
        let mut tables = Rows::new();
        // what is fresh is told by the wall clock
        let freshness = TableName::new("system", "freshness");
        for table in cut.tables.keys().filter(|table| wanted(&table.schema) && **table != freshness) {
            let sql = format!("select * from \"{}\".\"{}\"", table.schema, table.name);
            let (batches, more) = reader.query(&sql, 100_000).await.unwrap_or_else(|error| panic!("{table}: {error}"));
            assert!(!more, "{table} is larger than this test expects");
            let mut writer = LineDelimitedWriter::new(Vec::new());
            writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
            writer.finish().unwrap();
            tables.insert(table.to_string(), comparable(&String::from_utf8(writer.into_inner()).unwrap()));
        }
        tables
    }
}

/// Whether a run's report says that nothing was done to any system and nothing waits.
pub fn idle(report: &Value) -> bool {
    let summary = &report["summary"];
    let zero = |value: &Value| value.as_u64() == Some(0);
    let counts = [
        &summary["applied"]["sent"],
        &summary["confirmed"]["confirmed"],
        &summary["confirmed"]["overridden"],
        &summary["settled"]["acknowledged"],
        &summary["settled"]["returned"],
        &summary["settled"]["conflicted"],
        &summary["waiting"],
    ];
    let planned =
        |write: &Value| write["held"].is_null() && ["inserts", "updates", "deletes"].iter().all(|name| zero(&write[name]));
    counts.into_iter().all(zero) && report["writes"].as_array().unwrap().iter().all(planned)
}

/// Sends SIGKILL; `false` if the process had ended by itself.
fn kill(child: &mut Child) -> bool {
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

/// JSON lines as a sorted list, without what is incidental.
pub fn comparable(lines: &str) -> Vec<String> {
    let row = |line: &str| {
        let mut row: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        row.retain(|column, value| !INCIDENTAL.contains(&column.as_str()) && !value.is_null());
        serde_json::to_string(&row).unwrap()
    };
    let mut rows: Vec<String> = lines.lines().map(row).collect();
    rows.sort();
    rows
}

/// The rows that are only in one of the two, for a person; empty if there are none.
pub fn differences(expected: &Rows, found: &Rows) -> String {
    let none = Vec::new();
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let mut text = String::new();
    for name in names {
        let (expected, found) = (expected.get(name).unwrap_or(&none), found.get(name).unwrap_or(&none));
        if expected == found {
            continue;
        }
        let mut left = found.clone();
        for row in expected {
            match left.iter().position(|other| other == row) {
                Some(at) => drop(left.remove(at)),
                None => text += &format!("{name}: missing {row}\n"),
            }
        }
        text.extend(left.iter().map(|row| format!("{name}: not expected {row}\n")));
    }
    text
}

/// In memory where there is such a place: a killed process leaves what it wrote, synced or not, and a disk that everybody waits for would take most of
/// the time.
pub fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
