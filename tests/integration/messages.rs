//! What a beginner's mistakes are answered with: `tests/fixtures/messages.txt`, said by the real binary.
//!
//! ```text
//! === what is wrong
//! > a file of the project that `loopline init` makes, and how it is written: bom, crlf, latin-1, empty
//! its text
//! $ the arguments of the command
//! what it says: standard error, or standard output where that is empty
//! ```
//!
//! `LOOPLINE_MESSAGES=write` writes what is said now into the file, to be read and judged.

use std::path::Path;

use crate::harness::Mini;

const MESSAGES: &str = "tests/fixtures/messages.txt";

struct Case<'a> {
    title: &'a str,
    /// Path and manner, text.
    files: Vec<(&'a str, String)>,
    command: &'a str,
    expected: String,
}

fn read(text: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case> = vec![];
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            cases.push(Case { title, files: vec![], command: "", expected: String::new() });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with ===");
        match (line.strip_prefix("> "), line.strip_prefix("$ ")) {
            (Some(path), _) => case.files.push((path, String::new())),
            (_, Some(command)) => case.command = command,
            _ if case.command.is_empty() => *case.files.last_mut().map(|file| &mut file.1).unwrap() += &format!("{line}\n"),
            _ => case.expected += &format!("{line}\n"),
        }
    }
    cases
}

fn bytes(manners: &str, text: &str) -> Vec<u8> {
    let text = if manners.contains("crlf") { text.replace('\n', "\r\n") } else { text.to_owned() };
    let mut bytes = if manners.contains("bom") { "\u{feff}".as_bytes().to_vec() } else { vec![] };
    match manners.contains("latin-1") {
        true => bytes.extend(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap())),
        false => bytes.extend(text.bytes()),
    }
    bytes
}

fn said(case: &Case) -> String {
    let project = Mini::of(tempfile::tempdir().unwrap());
    let made = project.loopline(&["init", project.root().to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{made:?}");
    for (file, text) in &case.files {
        let (path, manners) = file.split_once(' ').unwrap_or((file, ""));
        let path = project.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes(manners, text)).unwrap();
    }
    let said = project.loopline(&case.command.split(' ').collect::<Vec<_>>());
    assert_eq!(said.code, Some(1), "{}: {said:?}", case.title);
    let text = if said.stderr.is_empty() { said.stdout } else { said.stderr };
    // How long it took is another matter.
    let lines = text.lines().map(|line| line.split(" failed in ").next().unwrap().trim_end());
    lines.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_mistake_is_answered_with_its_place_and_what_to_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(MESSAGES);
    let text = std::fs::read_to_string(&path).unwrap();
    let cases = read(&text);
    assert!(cases.len() >= 40, "{}", cases.len());
    let mut written = String::new();
    let mut wrong = String::new();
    for case in &cases {
        let said = said(case);
        if said != case.expected {
            wrong += &format!("=== {}\nexpected\n{}said\n{said}\n", case.title, case.expected);
        }
        let files = case.files.iter().map(|(path, text)| format!("> {path}\n{text}")).collect::<String>();
        written += &format!("=== {}\n{files}$ {}\n{said}", case.title, case.command);
    }
    if std::env::var("LOOPLINE_MESSAGES").is_ok_and(|what| what == "write") {
        std::fs::write(path, written).unwrap();
    } else {
        assert!(wrong.is_empty(), "{wrong}");
    }
}
