//! Finds and reads a project's files. Every path here and in messages is relative to the project's root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problems::Problems;
use super::{Project, ProjectError, SqlFile};
use crate::base::TableName;

/// The schemas that are contracts; every other schema in `sql/` holds models.
pub(super) const CONTRACT_SCHEMAS: [&str; 4] = ["crm", "erp", "mes", "wms"];

/// Schemas that the hub fills itself.
const RESERVED_SCHEMAS: [&str; 8] = ["raw", "mapped", "write", "system", "checks", "env", "production", "information_schema"];

const FILE_BYTES_MAX: u64 = 4 << 20; // files of a project are written by hand; a larger one is a mistake

/// All files of a project, read. A file that could not be read is missing here and among the problems.
#[derive(Default)]
pub(super) struct Files {
    pub settings: Option<SqlFile>,
    pub connectors: BTreeMap<String, ConnectorFiles>,
    pub pipelines: BTreeMap<String, SqlFile>,
    /// By name; `None` where the file is there but cannot be read, so that what refers to it is not reported as well.
    pub contracts: BTreeMap<TableName, Option<SqlFile>>,
    pub models: BTreeMap<TableName, Option<SqlFile>>,
    /// `<table>.check.<name>.sql`, by name.
    pub checks: BTreeMap<TableName, BTreeMap<String, SqlFile>>,
    /// `<table>.test`, not read.
    pub tests: BTreeMap<TableName, PathBuf>,
}

/// One folder in `connectors/`.
pub(super) struct ConnectorFiles {
    pub toml: Option<SqlFile>,
    /// File name without `.sql` → file.
    pub sql: BTreeMap<String, SqlFile>,
}

impl Files {
    pub(super) fn read(root: &Path, problems: &Problems) -> Self {
        let reader = Reader::new(root, problems);
        let mut files = Self { settings: reader.file(Path::new("loopline.toml")), ..Self::default() };
        if files.settings.is_none() {
            return files; // not a project: what else lies in this folder is none of our business
        }
        for folder in reader.list(Path::new("connectors")).into_iter().filter(|entry| entry.is_folder) {
            if reader.identifier(&folder.path, &folder.name, "a connector's folder") {
                files.connectors.insert(folder.name.clone(), reader.connector(&folder.path));
            }
        }
        for file in reader.list(Path::new("pipelines")) {
            let Some(name) = file.stem("toml") else { continue };
            if let (true, Some(text)) = (reader.identifier(&file.path, &name, "a pipeline's file"), reader.file(&file.path)) {
                files.pipelines.insert(name, text);
            }
        }
        reader.sql(&mut files);
        files
    }
}

struct Entry {
    name: String,
    path: PathBuf,
    is_folder: bool,
}

impl Entry {
    /// The file's name without `.extension`; `None` for a folder or another extension.
    fn stem(&self, extension: &str) -> Option<String> {
        let stem = self.name.strip_suffix(extension)?.strip_suffix('.')?;
        (!self.is_folder).then(|| stem.to_owned())
    }
}

struct Reader<'a> {
    root: &'a Path,
    /// The root without any link in its path.
    whole: Option<PathBuf>,
    problems: &'a Problems,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Path, problems: &'a Problems) -> Self {
        Self { root, whole: root.canonicalize().ok(), problems }
    }

    fn connector(&self, folder: &Path) -> ConnectorFiles {
        let mut sql = BTreeMap::new();
        for entry in self.list(folder) {
            let Some(name) = entry.stem("sql") else { continue };
            if let Some(file) = self.file(&entry.path) {
                sql.insert(name, file);
            }
        }
        ConnectorFiles { toml: self.file(&folder.join("connector.toml")), sql }
    }

    fn sql(&self, files: &mut Files) {
        for schema in self.list(Path::new("sql")) {
            if !schema.is_folder {
                if schema.stem("sql").is_some() {
                    let hint = "move it to sql/<schema>/<name>.sql: the path is the table's name";
                    self.problems.at(&schema.path, 1, "this file has no schema", Some(hint.into()));
                }
                continue;
            }
            if RESERVED_SCHEMAS.contains(&schema.name.as_str()) {
                let what = format!("schema \"{}\" is filled by the hub itself", schema.name);
                self.problems.at(&schema.path, 1, what, Some("give the folder another name".into()));
            } else if self.identifier(&schema.path, &schema.name, "a schema's folder") {
                self.schema(&schema, files);
            }
        }
    }

    fn schema(&self, schema: &Entry, files: &mut Files) {
        for entry in self.list(&schema.path) {
            if entry.is_folder {
                let hint = "a table is sql/<schema>/<name>.sql, one folder deep";
                self.problems.at(&entry.path, 1, "folders inside a schema are not read", Some(hint.into()));
            }
            if let Some(name) = entry.stem("test").filter(|name| self.identifier(&entry.path, name, "a test's file")) {
                files.tests.insert(TableName::new(schema.name.clone(), name), entry.path.clone());
            }
            let Some(name) = entry.stem("sql") else { continue };
            match name.split_once('.') {
                Some((table, beside)) => self.beside(&entry, TableName::new(schema.name.clone(), table), beside, files),
                None if self.identifier(&entry.path, &name, "a table's file") => {
                    let contract = CONTRACT_SCHEMAS.contains(&schema.name.as_str());
                    let tables = if contract { &mut files.contracts } else { &mut files.models };
                    tables.insert(TableName::new(schema.name.clone(), name), self.file(&entry.path));
                }
                None => {}
            }
        }
    }

    /// A file `<table>.<beside>.sql`.
    fn beside(&self, entry: &Entry, table: TableName, beside: &str, files: &mut Files) {
        let Some(name) = beside.strip_prefix("check.").filter(|name| is_identifier(name)) else {
            let hint = format!(
                "a check of {table} is called {0}.check.<name>.sql, tests of it {0}.test, a model has no dot in its name",
                table.name
            );
            return self.problems.at(&entry.path, 1, format!("it is not clear what \"{}\" is", entry.name), Some(hint));
        };
        if let Some(file) = self.file(&entry.path) {
            files.checks.entry(table).or_default().insert(name.to_owned(), file);
        }
    }

    /// Entries of a folder by name, hidden ones left out; a folder that is not there is empty.
    fn list(&self, folder: &Path) -> Vec<Entry> {
        let read = |source| self.problems.push(ProjectError::Read { path: folder.into(), source });
        let listing = match std::fs::read_dir(self.root.join(folder)) {
            Ok(listing) => listing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                read(error);
                return Vec::new();
            }
        };
        let mut entries = Vec::new();
        for entry in listing {
            match entry {
                Ok(entry) => entries.extend(self.entry(folder, &entry.file_name())),
                Err(error) => read(error),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    fn entry(&self, folder: &Path, file_name: &std::ffi::OsStr) -> Option<Entry> {
        let path = folder.join(file_name);
        let Some(name) = file_name.to_str() else {
            self.problems.at(&path, 1, "the file's name is not UTF-8 text", None);
            return None;
        };
        if name.starts_with('.') {
            return None;
        }
        match std::fs::metadata(self.root.join(&path)) {
            Ok(metadata) => Some(Entry { name: name.into(), path, is_folder: metadata.is_dir() }),
            Err(source) => {
                self.problems.push(ProjectError::Read { path, source });
                None
            }
        }
    }

    fn file(&self, path: &Path) -> Option<SqlFile> {
        match self.bytes(path) {
            Ok(Some(bytes)) => self.text(path, bytes),
            Ok(None) => None,
            Err(source) => {
                self.problems.push(ProjectError::Read { path: path.into(), source });
                None
            }
        }
    }

    /// The file's content; `None` with a problem where it is not a file of this project.
    fn bytes(&self, path: &Path) -> std::io::Result<Option<Vec<u8>>> {
        let full = self.root.join(path).canonicalize()?;
        if self.whole.as_ref().is_none_or(|whole| !full.starts_with(whole)) {
            let hint = "copy it: a project must be complete in its own folder";
            self.problems.at(path, 1, "this link leads out of the project", Some(hint.into()));
            return Ok(None);
        }
        let metadata = std::fs::metadata(&full)?;
        if metadata.is_file() && metadata.len() > FILE_BYTES_MAX {
            let what = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", metadata.len());
            self.problems.at(path, 1, what, None);
            return Ok(None);
        }
        std::fs::read(&full).map(Some)
    }

    fn text(&self, path: &Path, bytes: Vec<u8>) -> Option<SqlFile> {
        match String::from_utf8(bytes) {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
                Some(SqlFile { path: path.into(), text })
            }
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                self.problems.at(path, line, "not UTF-8 text", Some("save the file as UTF-8".into()));
                None
            }
        }
    }

    fn identifier(&self, path: &Path, name: &str, what: &str) -> bool {
        let valid = is_identifier(name);
        if !valid {
            let hint = format!("rename it, for example to \"{}\"", to_identifier(name));
            self.problems.at(path, 1, format!("{what} is named in lower case letters, digits and _, not \"{name}\""), Some(hint));
        }
        valid
    }
}

impl Project {
    /// Reads a file of this project as text.
    pub fn read_text(&self, path: &Path) -> Result<SqlFile, Vec<ProjectError>> {
        let problems = Problems::default();
        let file = Reader::new(&self.root, &problems).file(path);
        file.ok_or_else(|| problems.into_errors())
    }
}

/// A name that SQL takes without quotes: `a-z`, `0-9`, `_`, not starting with a digit.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A valid name made from `name`, to suggest.
pub(super) fn to_identifier(name: &str) -> String {
    let mut made: String = name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    while made.contains("__") {
        made = made.replace("__", "_");
    }
    if made.starts_with(|c: char| c.is_ascii_digit()) || made.is_empty() {
        made.insert(0, '_');
    }
    made
}
