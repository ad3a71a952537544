//! Puts simulated plants into databases, and keeps what is open for the next day.

use std::path::Path;

use chrono::Days;

use super::embed;
use super::feedback::{Feedback, QUERIES};
use super::load::copy::CopyBuffer;
use super::load::server;
use super::load::sqlite::SqliteFile;
use super::options::{State, folder, schema};
use super::product::{PRODUCTS, Product, View};
use super::sim::{Sim, characteristics};
use super::{CLOCK, DemoError, STATE, simulate};

/// Rows written to each system.
type Rows = [u64; 4];

/// Simulates `scale` plants into new files. A file takes its name only when it is complete.
pub fn create_sqlite(mut state: State, scale: u32, folder: &Path) -> Result<(State, Rows), DemoError> {
    std::fs::create_dir_all(folder).map_err(|source| DemoError::Write { path: folder.to_owned(), source })?;
    let path = |system: &str, suffix: &str| folder.join(format!("{system}.sqlite{suffix}"));
    let mut files = Vec::new();
    for product in &PRODUCTS {
        let new = path(product.system, ".new");
        if new.exists() {
            std::fs::remove_file(&new).map_err(|source| DemoError::Write { path: new.clone(), source })?;
        }
        files.push(SqliteFile::create(product.system, &new, product.tables)?);
    }
    for number in 0..scale {
        let master = state.master(number);
        let sim = simulate(&master, state.present);
        write_all(&sim, None, &mut files)?;
        let mut plant = sim.plant;
        plant.forget_closed();
        state.plants.push(plant);
    }
    let now = state.now();
    let rows = rows_of(&files);
    std::thread::scope(|scope| {
        let finishing = files.into_iter().zip(&PRODUCTS).map(|(mut file, product)| {
            scope.spawn(move || {
                file.set_clock(now)?;
                file.finish(product.tables)?;
                file.commit()
            })
        });
        join(finishing.collect())
    })?;
    for product in &PRODUCTS {
        for leftover in ["-wal", "-shm", "-journal"].map(|suffix| path(product.system, suffix)) {
            if leftover.exists() {
                std::fs::remove_file(&leftover).map_err(|source| DemoError::Write { path: leftover.clone(), source })?;
            }
        }
        let (new, name) = (path(product.system, ".new"), path(product.system, ""));
        std::fs::rename(&new, &name).map_err(|source| DemoError::Write { path: name, source })?;
    }
    Ok((state, rows))
}

/// Writes one plant to all four files at once.
fn write_all(sim: &Sim<'_>, since: Option<i64>, files: &mut [SqliteFile]) -> Result<(), DemoError> {
    let characteristics = characteristics(sim.master);
    let view = View { master: sim.master, plant: &sim.plant, characteristics: &characteristics, since };
    let view = &view;
    std::thread::scope(|scope| {
        let writing = files.iter_mut().zip(&PRODUCTS).map(|(file, product)| scope.spawn(move || (product.write)(view, file)));
        join(writing.collect())
    })
}

fn join(threads: Vec<std::thread::ScopedJoinHandle<'_, Result<(), DemoError>>>) -> Result<(), DemoError> {
    let mut result = Ok(());
    for thread in threads {
        let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result = result.and(ended);
    }
    result
}

fn rows_of(files: &[SqliteFile]) -> Rows {
    let mut rows = Rows::default();
    rows.iter_mut().zip(files).for_each(|(rows, file)| *rows = file.rows());
    rows
}

/// One more day in the files. Gives the requests of the hub that were ordered, too.
pub fn advance_sqlite(mut state: State, folder: &Path) -> Result<(State, Rows, usize), DemoError> {
    let mut files = Vec::new();
    for product in &PRODUCTS {
        let path = folder.join(format!("{}.sqlite", product.system));
        if !path.exists() {
            return Err(DemoError::Missing { dir: folder.to_owned() });
        }
        files.push(SqliteFile::open(product.system, &path)?);
    }
    let mut feedback = Feedback::default();
    for (rows, (system, table, sql)) in feedback.0.iter_mut().zip(QUERIES) {
        if let Some(index) = PRODUCTS.iter().position(|product| product.system == system) {
            *rows = files[index].query(table, sql)?;
        }
    }
    let ordered = next_day(&mut state, &feedback, |sim, since| write_all(sim, Some(since), &mut files))?;
    let rows = rows_of(&files);
    for file in files {
        file.set_clock(state.now())?;
        file.commit()?;
    }
    Ok((state, rows, ordered))
}

/// Simulates one day of every plant and hands each to `write`, with the instant since which its records are new.
fn next_day(
    state: &mut State,
    feedback: &Feedback,
    mut write: impl FnMut(&Sim<'_>, i64) -> Result<(), DemoError>,
) -> Result<usize, DemoError> {
    let mut ordered = 0;
    for number in 0..state.plants.len() {
        let master = state.master(number as u32);
        let mut plant = std::mem::take(&mut state.plants[number]);
        let since = plant.now;
        let wishes = feedback.take_over(&master, &mut plant);
        let mut sim = Sim::resume(&master, plant, state.present);
        sim.connect(wishes);
        sim.day(state.next_day);
        ordered += sim.requests_ordered();
        write(&sim, since)?;
        let mut plant = sim.plant;
        plant.forget_closed();
        state.plants[number] = plant;
    }
    state.next_day = state.next_day + Days::new(1);
    Ok(ordered)
}

/// Simulates `scale` plants into new schemas on a server.
pub async fn create_server(mut state: State, scale: u32, url: &str) -> Result<(State, Rows), DemoError> {
    let mut schemas = Vec::new();
    for product in &PRODUCTS {
        let schema = schema(url, product.system);
        let mut opened = server(product.system, url, &schema).await?;
        opened.create(&schema, product.tables).await?;
        schemas.push((opened, CopyBuffer::default()));
    }
    for number in 0..scale {
        let (plant, buffers);
        (state, plant, buffers) = super::blocking({
            let versions: Vec<_> = schemas.iter().map(|(_, buffer)| CopyBuffer::after(buffer)).collect();
            move || {
                let master = state.master(number);
                let sim = simulate(&master, state.present);
                let buffers = fill(&sim, None, versions)?;
                let mut plant = sim.plant;
                plant.forget_closed();
                Ok((state, plant, buffers))
            }
        })
        .await?;
        state.plants.push(plant);
        let loading = schemas.iter_mut().zip(buffers).map(|((schema, kept), buffer)| async move {
            schema.load(&buffer.copies).await?;
            kept.go_on(buffer);
            Ok::<_, DemoError>(())
        });
        futures::future::try_join_all(loading).await?;
    }
    let now = state.now();
    let mut rows = Rows::default();
    rows.iter_mut().zip(&schemas).for_each(|(rows, (_, buffer))| *rows = buffer.rows);
    let finishing = schemas.into_iter().zip(&PRODUCTS).map(|((mut schema, _), product)| async move {
        schema.set_clock(now).await?;
        schema.finish(product.tables).await?;
        schema.commit().await
    });
    futures::future::try_join_all(finishing).await?;
    Ok((state, rows))
}

/// The rows of one plant for all products.
fn fill(sim: &Sim<'_>, since: Option<i64>, mut buffers: Vec<CopyBuffer>) -> Result<Vec<CopyBuffer>, DemoError> {
    let characteristics = characteristics(sim.master);
    let view = View { master: sim.master, plant: &sim.plant, characteristics: &characteristics, since };
    for (Product { write, .. }, buffer) in PRODUCTS.iter().zip(&mut buffers) {
        write(&view, buffer)?;
    }
    Ok(buffers)
}

/// One more day in the schemas.
pub async fn advance_server(mut state: State, url: &str) -> Result<(State, Rows, usize), DemoError> {
    let (mut schemas, mut buffers) = (Vec::new(), Vec::new());
    for product in &PRODUCTS {
        let mut opened = server(product.system, url, &schema(url, product.system)).await?;
        buffers.push(opened.buffer(product.tables).await?);
        schemas.push(opened);
    }
    let mut feedback = Feedback::default();
    for (rows, (system, table, sql)) in feedback.0.iter_mut().zip(QUERIES) {
        if let Some(index) = PRODUCTS.iter().position(|product| product.system == system) {
            *rows = schemas[index].query(table, sql).await?;
        }
    }
    let (ordered, filled);
    (state, ordered, filled) = super::blocking(move || {
        let mut filled = Some(buffers);
        let ordered = next_day(&mut state, &feedback, |sim, since| {
            filled = Some(fill(sim, Some(since), filled.take().unwrap_or_default())?);
            Ok(())
        })?;
        Ok((state, ordered, filled.unwrap_or_default()))
    })
    .await?;
    let now = state.now();
    let mut rows = Rows::default();
    rows.iter_mut().zip(&filled).for_each(|(rows, buffer)| *rows = buffer.rows);
    let merging = schemas.into_iter().zip(filled).map(|(mut schema, buffer)| async move {
        schema.merge(&buffer.copies).await?;
        schema.set_clock(now).await?;
        schema.commit().await
    });
    futures::future::try_join_all(merging).await?;
    Ok((state, rows, ordered))
}

/// Writes the state, then the clock: the clock never runs ahead of what is kept.
pub fn keep(dir: &Path, state: &mut State) -> Result<(), DemoError> {
    let folder = folder(dir);
    let path = folder.join(STATE);
    let text = serde_json::to_string(state).map_err(|source| DemoError::State { path: path.clone(), source })?;
    let new = folder.join("state.json.new");
    embed::write(&new, &text)?;
    std::fs::rename(&new, &path).map_err(|source| DemoError::Write { path, source })?;
    let now = state.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    embed::write(&folder.join(CLOCK), &format!("{now}\n"))
}

/// Reads what [`keep`] wrote.
pub fn recall(dir: &Path) -> Result<State, DemoError> {
    let path = folder(dir).join(STATE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(DemoError::Missing { dir: dir.to_owned() }),
        Err(source) => return Err(DemoError::Read { path, source }),
    };
    serde_json::from_str(&text).map_err(|source| DemoError::State { path, source })
}
