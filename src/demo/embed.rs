//! The demo project's own files, carried in the binary and written out where there is no project yet.

use std::path::Path;

use super::DemoError;
use super::product::PRODUCTS;

include!(concat!(env!("OUT_DIR"), "/project_files.rs"));

const CONFIG: &str = "loopline.toml";
/// Head of a configuration that the demo wrote and may write again.
const HEAD: &str = "# The demo plant:";

/// What became of the project in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectFiles {
    /// There was none: all files were written.
    Written,
    /// It is the demo's own: only its addresses were set.
    Updated,
    /// It is somebody's own project: nothing was touched.
    Kept,
}

/// Writes the project into `dir` unless it has one; `urls` are the addresses of the four systems, `secret` names the variable with their password.
pub fn write_project(dir: &Path, urls: &[String], secret: Option<&str>) -> Result<ProjectFiles, DemoError> {
    let (config, present) = (dir.join(CONFIG), present(dir)?);
    let wanted = configuration(urls, secret);
    match present {
        Some(text) if text == wanted => Ok(ProjectFiles::Kept),
        Some(text) if !text.starts_with(HEAD) => Ok(ProjectFiles::Kept),
        Some(_) => write(&config, &wanted).map(|()| ProjectFiles::Updated),
        None => {
            for (name, text) in FILES.iter().filter(|(name, _)| *name != CONFIG) {
                let path = dir.join(name);
                if !path.exists() {
                    write(&path, text)?;
                }
            }
            write(&config, &wanted).map(|()| ProjectFiles::Written)
        }
    }
}

/// Whether the demo may live in `dir`: it holds no project, or the demo's own.
pub fn may_hold(dir: &Path) -> Result<bool, DemoError> {
    Ok(present(dir)?.is_none_or(|text| text.starts_with(HEAD)))
}

/// The text of the configuration that is there.
fn present(dir: &Path) -> Result<Option<String>, DemoError> {
    let config = dir.join(CONFIG);
    match std::fs::read_to_string(&config) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DemoError::Read { path: config, source }),
    }
}

/// The configuration of this repository with other addresses.
fn configuration(urls: &[String], secret: Option<&str>) -> String {
    let text = FILES.iter().find(|(name, _)| *name == CONFIG).map_or("", |(_, text)| text);
    let mut system = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let name = section.trim_end_matches(']').strip_prefix("systems.");
            system = PRODUCTS.iter().position(|product| Some(product.system) == name);
        }
        match system.and_then(|index| urls.get(index)).filter(|_| line.starts_with("url = ")) {
            Some(url) => {
                lines.push(format!("url = \"{url}\""));
                lines.extend(secret.map(|name| format!("secret = {{ env = \"{name}\" }}")));
            }
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    let failed = |source| DemoError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced_and_nothing_else() {
        let sqlite: Vec<String> =
            PRODUCTS.iter().map(|product| format!("sqlite:.loopline/demo/{}.sqlite", product.system)).collect();
        let own = FILES.iter().find(|(name, _)| *name == CONFIG).unwrap().1;
        assert_eq!(configuration(&sqlite, None), own);
        let postgres: Vec<String> =
            PRODUCTS.iter().map(|product| format!("postgres://h/db?schema=loopline_demo_{}", product.system)).collect();
        let text = configuration(&postgres, Some("PGPASSWORD"));
        assert_eq!(text.matches("url = \"postgres://h/db?schema=loopline_demo_").count(), 4);
        assert_eq!(text.matches("secret = { env = \"PGPASSWORD\" }").count(), 4);
    }

    #[test]
    fn a_project_that_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let urls = vec!["sqlite:a".to_owned(); 4];
        assert_eq!(write_project(dir.path(), &urls, None).unwrap(), ProjectFiles::Written);
        assert!(dir.path().join("sql/erp/items.sql").exists());
        assert_eq!(write_project(dir.path(), &urls, None).unwrap(), ProjectFiles::Kept);
        std::fs::write(dir.path().join(CONFIG), "strategy = \"integrator\"\n").unwrap();
        assert_eq!(write_project(dir.path(), &urls, None).unwrap(), ProjectFiles::Kept);
        assert_eq!(std::fs::read_to_string(dir.path().join(CONFIG)).unwrap(), "strategy = \"integrator\"\n");
    }
}
