//! MySQL and MariaDB: a database for each product, loaded by inserts of many rows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, FromValueError, Opts, OptsBuilder, Row, from_value_opt};

use super::copy::Copy;
use super::ddl::{self, Dialect};
use super::{Server, Table, text};
use crate::demo::DemoError;

/// Length of one statement; servers take at least 4 MiB.
const STATEMENT_BYTES: usize = 1 << 20;

/// Whether an address is one of these servers.
pub fn speaks(url: &str) -> bool {
    url.starts_with("mysql:") || url.starts_with("mariadb:")
}

/// One product's database. Rows are in one transaction; making tables ends the transaction, as it always does there.
pub struct MysqlDatabase {
    system: &'static str,
    conn: Conn,
}

impl MysqlDatabase {
    /// Connects to `url`, whose database need not exist, without a password (MYSQL_PWD has it), and begins a transaction in `schema`.
    pub async fn open(system: &'static str, url: &str, schema: &str) -> Result<Self, DemoError> {
        let refused = |source: Error| DemoError::Connect { system, url: url.to_owned(), source: source.into() };
        let driver_url = url.strip_prefix("mariadb:").map_or_else(|| url.to_owned(), |rest| format!("mysql:{rest}"));
        let opts = Opts::from_url(&driver_url).map_err(|error| refused(error.into()))?;
        let opts =
            OptsBuilder::from_opts(opts).db_name(None::<String>).pass(std::env::var("MYSQL_PWD").ok()).prefer_socket(false);
        let conn = Conn::new(opts).await.map_err(refused)?;
        let mut opened = Self { system, conn };
        // Double quotes are for names, as in the other dialects; `gone` and the triggers rely on it.
        opened.run("plant_clock", "set session sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES', time_zone = '+00:00'").await?;
        let sql = format!("select count(*) from information_schema.schemata where schema_name = '{schema}'");
        if opened.query("plant_clock", &sql).await? == [[Some("1".to_owned())]] {
            opened.run("plant_clock", &format!("use {}", ddl::quoted(schema))).await?;
            opened.run("plant_clock", "start transaction").await?;
        }
        Ok(opened)
    }

    async fn insert(&mut self, copy: &Copy, statement: impl Fn(&str) -> String) -> Result<(), DemoError> {
        for rows in copy.literals(STATEMENT_BYTES) {
            self.run(copy.table.name, &statement(&format!("values {rows}"))).await?;
        }
        Ok(())
    }

    async fn run(&mut self, table: &str, sql: &str) -> Result<(), DemoError> {
        self.conn.query_drop(sql).await.map_err(failed(self.system, table))
    }
}

fn failed<E: Into<Error>>(system: &'static str, table: &str) -> impl Fn(E) -> DemoError {
    move |source| DemoError::Mysql { system, table: table.to_owned(), source: source.into() }
}

#[async_trait]
impl Server for MysqlDatabase {
    async fn create(&mut self, schema: &str, tables: &[&'static Table]) -> Result<(), DemoError> {
        let schema = ddl::quoted(schema);
        let made = format!("create database {schema} character set utf8mb4 collate utf8mb4_bin");
        for sql in [&format!("drop database if exists {schema}"), &made, &format!("use {schema}"), ddl::CLOCK] {
            self.run("plant_clock", sql).await?;
        }
        for table in tables {
            self.run(table.name, &ddl::create(table, Dialect::Mysql)).await?;
        }
        self.run("plant_clock", "start transaction").await
    }

    async fn set_clock(&mut self, now: DateTime<Utc>) -> Result<(), DemoError> {
        let (utc, local) = text::clock_texts(now);
        self.run("plant_clock", "delete from plant_clock").await?;
        self.run("plant_clock", &format!("insert into plant_clock values ({}, '{utc}', '{local}')", now.timestamp_millis())).await
    }

    async fn load(&mut self, copies: &[Copy]) -> Result<(), DemoError> {
        for copy in copies {
            self.insert(copy, |values| format!("insert into {} {values}", ddl::quoted(copy.table.name))).await?;
        }
        Ok(())
    }

    async fn merge(&mut self, copies: &[Copy]) -> Result<(), DemoError> {
        for copy in copies {
            for condition in &copy.gone {
                let sql = format!("delete from {} where {condition}", ddl::quoted(copy.table.name));
                self.run(copy.table.name, &sql).await?;
            }
            self.insert(copy, |values| ddl::upsert(copy.table, values, Dialect::Mysql)).await?;
        }
        Ok(())
    }

    async fn finish(&mut self, tables: &[&'static Table]) -> Result<(), DemoError> {
        for table in tables {
            for statement in ddl::finish(table, Dialect::Mysql) {
                self.run(table.name, &statement).await?;
            }
        }
        Ok(())
    }

    async fn query(&mut self, table: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, DemoError> {
        let rows: Vec<Row> = self.conn.query(sql).await.map_err(failed(self.system, table))?;
        let cells = |row: Row| row.unwrap().into_iter().map(from_value_opt).collect::<Result<_, FromValueError>>();
        let rows: Result<_, _> = rows.into_iter().map(cells).collect();
        rows.map_err(|error: FromValueError| failed(self.system, table)(Error::Other(error.into())))
    }

    async fn commit(mut self: Box<Self>) -> Result<(), DemoError> {
        self.run("plant_clock", "commit").await?;
        self.conn.disconnect().await.map_err(failed(self.system, "plant_clock"))
    }
}
