//! Systems that are files: their address, and what a stream says of its files.

use super::section::{Located, Section};
use super::{Files, Format, Protocol};

/// Schemes of buckets; everything else is a folder.
const BUCKET_SCHEMES: [&str; 5] = ["s3", "gs", "az", "abfs", "abfss"];

/// Columns that find a row of a file where the stream declares no key: path of the file, and number of the row in it.
pub(super) const KEY_DEFAULT: [&str; 2] = ["_file", "_row"];

/// Extension → format.
const EXTENSIONS: [(&str, Format); 11] = [
    ("csv", Format::Csv),
    ("tsv", Format::Csv),
    ("txt", Format::Csv),
    ("jsonl", Format::Jsonl),
    ("ndjson", Format::Jsonl),
    ("xlsx", Format::Excel),
    ("xlsm", Format::Excel),
    ("xlsb", Format::Excel),
    ("xls", Format::Excel),
    ("ods", Format::Excel),
    ("parquet", Format::Parquet),
];

/// The environment's settings for buckets, in object_store's names. Only the providers' own variables count: a stray `TOKEN` or `REGION` must not
/// configure a bucket.
pub fn bucket_options() -> Vec<(String, String)> {
    let known = |name: &str| ["aws_", "google_", "azure_"].iter().any(|prefix| name.starts_with(prefix));
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?.to_ascii_lowercase(), value.into_string().ok()?)))
        .filter(|(name, _)| known(name))
        .collect()
}

/// Reports an address that is neither a folder nor a bucket.
pub(super) fn check_address(url: &Located<String>, section: &Section) {
    let hint = "write a folder (./drop, file:/srv/drop) or a bucket (s3://bucket/folder, gs://…, az://…)";
    let Some((scheme, rest)) = url.value.split_once(':') else { return };
    let is_bucket = BUCKET_SCHEMES.contains(&scheme);
    if scheme != "file" && !is_bucket {
        section.problem(url.line, format!("\"{scheme}:\" is not an address of files"), Some(hint.into()));
    } else if super::settings::has_password(&url.value) {
        let hint = "remove it; credentials of buckets come from the environment (AWS_…, GOOGLE_…, AZURE_…)";
        section.problem(url.line, "the address holds a password", Some(hint.into()));
    } else if rest.trim_matches('/').is_empty() || is_bucket != rest.starts_with("//") && is_bucket {
        section.problem(url.line, "the address names no folder or bucket", Some(hint.into()));
    }
}

/// Reads `files = { pattern = "orders/*.csv", … }` of a stream; `None` if it has none, or a wrong one. Reports what does not go with files.
pub(super) fn of_stream(stream: &Section, protocol: Option<Protocol>) -> Option<Files> {
    match (protocol, stream.has("files")) {
        (Some(Protocol::Files), false) => {
            stream.problem(stream.line, "\"files\" is missing", Some("add files = { pattern = \"orders/*.csv\" }".into()));
        }
        (Some(Protocol::Sql), true) => {
            let hint = "write protocol = \"files\" in this connector.toml, or remove `files`";
            stream.problem(stream.line, "\"files\" needs a connector of files", Some(hint.into()));
        }
        _ => {}
    }
    let section = stream.table("files")?;
    for key in ["table", "cursor", "sweep", "version"] {
        if stream.has(key) {
            let hint = format!("remove `{key}`: each file is taken once, and again when it changes");
            stream.problem(stream.line, format!("\"{key}\" has no effect on a stream of files"), Some(hint));
        }
    }
    let pattern = section.required("pattern", "\"orders/*.csv\"", section.text("pattern"));
    let by_extension = pattern.as_ref().and_then(|pattern| {
        let extension = pattern.value.rsplit_once('.')?.1.to_ascii_lowercase();
        EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, format)| (*format, extension))
    });
    let format: Option<Format> = match section.has("format") {
        true => section.word("format"),
        false => by_extension.as_ref().map(|(format, _)| *format),
    };
    if let Some(pattern) = &pattern {
        check_pattern(pattern, &section);
        if format.is_none() && !section.has("format") {
            let hint = "add format = \"csv\" (or jsonl, excel, parquet)";
            section.problem(pattern.line, "the pattern does not say which format the files have", Some(hint.into()));
        }
    }
    let is_tabs = by_extension.is_some_and(|(_, extension)| extension == "tsv");
    let delimiter = section.parsed("delimiter", delimiter);
    let has_header = section.flag("header");
    let sheet = section.text("sheet");
    let only = |key: &str, line: usize, fits: bool, formats: &str| {
        if !fits && format.is_some() {
            section.problem(line, format!("\"{key}\" has no effect: it is for {formats} only"), Some(format!("remove `{key}`")));
        }
    };
    if let Some(delimiter) = &delimiter {
        only("delimiter", delimiter.line, format == Some(Format::Csv), "csv");
    }
    if has_header.is_some() {
        only("header", section.line, matches!(format, Some(Format::Csv | Format::Excel)), "csv and excel");
    }
    if let Some(sheet) = &sheet {
        only("sheet", sheet.line, format == Some(Format::Excel), "excel");
    }
    section.finish();
    Some(Files {
        pattern: pattern?.value,
        format: format?,
        delimiter: delimiter.map_or(if is_tabs { b'\t' } else { b',' }, |delimiter| delimiter.value),
        has_header: has_header.unwrap_or(true),
        sheet: sheet.map(|sheet| sheet.value),
    })
}

fn check_pattern(pattern: &Located<String>, section: &Section) {
    let hint = "write it as a path below the system's address, with * and ** for what varies: orders/*.csv, **/lot-?.parquet";
    let odd = pattern.value.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if odd || pattern.value.contains('\\') {
        section.problem(
            pattern.line,
            format!("\"{}\" is not a path below the system's address", pattern.value),
            Some(hint.into()),
        );
    } else if let Err(error) = globset::Glob::new(&pattern.value) {
        let what = format!("\"{}\" is not a pattern: {}", pattern.value, error.kind());
        section.problem(pattern.line, what, Some(hint.into()));
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err(format!("\"{text}\" is not one character between fields (\",\", \";\", \"|\", \"\\t\")")),
    }
}
