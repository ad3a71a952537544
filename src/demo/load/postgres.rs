//! PostgreSQL schemas: loaded by COPY in one transaction.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::SinkExt;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::copy::Copy;
use super::ddl::{self, Dialect};
use super::{Server, Table, text};
use crate::demo::DemoError;

/// Bytes handed to the driver at once.
const CHUNK_BYTES: usize = 1 << 20;

/// One product's schema, inside one transaction until it is committed.
pub struct PostgresSchema {
    system: &'static str,
    client: Client,
    connection: JoinHandle<()>,
}

impl PostgresSchema {
    /// Connects to `url`, which names no schema and no password (PGPASSWORD has it), and begins a transaction in `schema`.
    pub async fn open(system: &'static str, url: &str, schema: &str) -> Result<Self, DemoError> {
        let refused = |source: tokio_postgres::Error| DemoError::Connect { system, url: url.to_owned(), source: source.into() };
        let mut config: Config = url.parse().map_err(refused)?;
        if let Ok(password) = std::env::var("PGPASSWORD") {
            config.password(password);
        }
        let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the demo plant's connection ended");
            }
        });
        let opened = Self { system, client, connection };
        opened.run("plant_clock", &format!("begin; set local search_path to {}", ddl::quoted(schema))).await?;
        Ok(opened)
    }

    async fn copy_in(&self, copy: &Copy, target: &str) -> Result<(), DemoError> {
        let failed = |source| DemoError::Postgres { system: self.system, table: copy.table.name.into(), source };
        let sink =
            self.client.copy_in::<_, std::io::Cursor<Vec<u8>>>(&format!("copy {target} from stdin")).await.map_err(failed)?;
        let mut sink = std::pin::pin!(sink);
        for chunk in copy.text.as_bytes().chunks(CHUNK_BYTES) {
            sink.feed(std::io::Cursor::new(chunk.to_vec())).await.map_err(failed)?;
        }
        sink.finish().await.map_err(failed)?;
        Ok(())
    }

    async fn run(&self, table: &str, sql: &str) -> Result<(), DemoError> {
        self.client.batch_execute(sql).await.map_err(self.failed(table))
    }

    fn failed(&self, table: &str) -> impl FnOnce(tokio_postgres::Error) -> DemoError {
        let (system, table) = (self.system, table.to_owned());
        move |source| DemoError::Postgres { system, table, source }
    }
}

#[async_trait]
impl Server for PostgresSchema {
    async fn create(&mut self, schema: &str, tables: &[&'static Table]) -> Result<(), DemoError> {
        let schema = ddl::quoted(schema);
        let statements = format!("drop schema if exists {schema} cascade; create schema {schema}; {}", ddl::CLOCK);
        self.run("plant_clock", &statements).await?;
        for table in tables {
            self.run(table.name, &ddl::create(table, Dialect::Postgres)).await?;
        }
        Ok(())
    }

    async fn set_clock(&mut self, now: DateTime<Utc>) -> Result<(), DemoError> {
        let (utc, local) = text::clock_texts(now);
        let millis = now.timestamp_millis();
        self.run(
            "plant_clock",
            &format!("delete from plant_clock; insert into plant_clock values ({millis}, '{utc}', '{local}')"),
        )
        .await
    }

    async fn load(&mut self, copies: &[Copy]) -> Result<(), DemoError> {
        for copy in copies {
            self.copy_in(copy, &ddl::quoted(copy.table.name)).await?;
        }
        Ok(())
    }

    async fn merge(&mut self, copies: &[Copy]) -> Result<(), DemoError> {
        for copy in copies {
            let name = copy.table.name;
            for condition in &copy.gone {
                self.run(name, &format!("delete from {} where {condition}", ddl::quoted(name))).await?;
            }
            if copy.text.is_empty() {
                continue;
            }
            let staged = format!("create temp table plant_staged (like {}) on commit drop", ddl::quoted(name));
            self.run(name, &format!("drop table if exists pg_temp.plant_staged; {staged}")).await?;
            self.copy_in(copy, "pg_temp.plant_staged").await?;
            self.run(name, &ddl::upsert(copy.table, "select * from pg_temp.plant_staged", Dialect::Postgres)).await?;
        }
        Ok(())
    }

    async fn finish(&mut self, tables: &[&'static Table]) -> Result<(), DemoError> {
        for table in tables {
            for statement in ddl::finish(table, Dialect::Postgres) {
                self.run(table.name, &statement).await?;
            }
            for (column, _) in table.columns.iter().filter(|(_, kind)| *kind == super::Kind::Serial) {
                let (name, column) = (ddl::quoted(table.name), ddl::quoted(column));
                let next = format!(
                    "select setval(pg_get_serial_sequence('{name}', '{}'), (select coalesce(max({column}), 1) from {name}))",
                    column.trim_matches('"')
                );
                self.run(table.name, &next).await?;
            }
        }
        Ok(())
    }

    async fn query(&mut self, table: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, DemoError> {
        let messages = self.client.simple_query(sql).await.map_err(self.failed(table))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect()),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    async fn commit(self: Box<Self>) -> Result<(), DemoError> {
        self.run("plant_clock", "commit").await?;
        drop(self.client);
        self.connection.await.map_err(DemoError::Task)
    }
}
