//! Small texts inside files: durations, zones, sizes, SQL expressions, `--!` headers.

use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::ColumnType;
use crate::base::{nearest, time};

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match time::parse_duration(text) {
        Ok(Duration::ZERO) => Err(format!("\"{text}\" is no time at all")),
        other => other,
    }
}

/// Reads how often something happens: a duration, or a word for a common one.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let hours = match text {
        "hourly" => 1,
        "daily" => 24,
        "weekly" => 7 * 24,
        _ => {
            return duration(text).map_err(|message| match text.ends_with("ly") {
                true => format!("\"{text}\" is not hourly, daily, weekly or a duration like 12h"),
                false => message,
            });
        }
    };
    Ok(Duration::from_secs(hours * 3_600))
}

/// Reads hours of the day, from and to (exclusive): `20-6`.
pub(super) fn hours(text: &str) -> Result<(u32, u32), String> {
    let hour = |text: &str| text.trim().parse::<u32>().ok().filter(|hour| *hour <= 24);
    let both = text.split_once('-').and_then(|(from, to)| Some((hour(from).filter(|from| *from < 24)?, hour(to)?)));
    both.filter(|(from, to)| from != to)
        .ok_or_else(|| format!("\"{text}\" does not name two hours of the day (from and to, as in 20-6)"))
}

/// Reads a type that a stream chooses for a column.
pub(super) fn column_type(text: &str) -> Result<ColumnType, String> {
    const WORDS: [(&str, ColumnType); 7] = [
        ("text", ColumnType::Text),
        ("integer", ColumnType::Integer),
        ("long", ColumnType::Long),
        ("double", ColumnType::Double),
        ("boolean", ColumnType::Boolean),
        ("date", ColumnType::Date),
        ("timestamp", ColumnType::Timestamp),
    ];
    if let Some((_, word)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*word);
    }
    if let Some(digits) = text.strip_prefix("decimal") {
        let digits = digits.trim().strip_prefix('(').and_then(|digits| digits.strip_suffix(')')?.split_once(','));
        let digits = digits.and_then(|(all, after)| Some((all.trim().parse::<u8>().ok()?, after.trim().parse::<i8>().ok()?)));
        return match digits {
            Some((precision, scale)) if (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision => {
                Ok(ColumnType::Decimal { precision, scale })
            }
            _ => Err(format!(
                "\"{text}\" is not a decimal type (at most 38 digits, and how many of them stand after the point: decimal(18,6))"
            )),
        };
    }
    let known = WORDS.iter().map(|(word, _)| *word).chain(["decimal"]);
    let near = nearest(text, known).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    Err(format!("\"{text}\" is not a type (text, integer, long, double, decimal(18,6), boolean, date, timestamp){near}"))
}

/// Reads the name of a time zone as the IANA database has it.
pub(super) fn time_zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| {
        let near = nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name()));
        let near = near.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
        format!("\"{text}\" is not a time zone (IANA name: Europe/Berlin, UTC){near}")
    })
}

/// Reads a number of bytes: a whole number and `KiB`, `MiB`, `GiB` or `TiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let refuse = || format!("\"{text}\" is not a size (a whole number and MiB or GiB: 512MiB, 4GiB)");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_usize << 40,
        _ => return Err(refuse()),
    };
    count.parse::<usize>().ok().and_then(|count| count.checked_mul(factor)).ok_or_else(refuse)
}

/// Checks the spelling of one SQL expression.
pub(super) fn expression(text: &str) -> Result<(), String> {
    let checked = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| {
        parser.parse_expr()?;
        parser.expect_token(&Token::EOF).map(drop)
    });
    checked.map_err(|error| sql_error(&error).0)
}

/// The parser's message without its place, and the line that it named.
pub(super) fn sql_error(error: &ParserError) -> (String, Option<usize>) {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "nested too deeply",
    };
    match text.rsplit_once(" at Line: ") {
        Some((message, place)) => {
            let line = place.split(',').next().and_then(|line| line.trim().parse().ok());
            (message.to_owned(), line.filter(|line| *line > 0))
        }
        None => (text.to_owned(), None),
    }
}

const HEADER: &str = "--!";

/// Line of the first `--!`, from 1.
pub(super) fn header_line(sql: &str) -> Option<usize> {
    sql.lines().position(|line| line.trim_start().starts_with(HEADER)).map(|index| index + 1)
}

/// The TOML of a model's header, as a text in which every line stands where it stands in the file; the line after the header is second.
pub(super) fn header_toml(sql: &str, first_line: usize) -> (String, usize) {
    let mut toml = "\n".repeat(first_line - 1);
    let mut lines = 0;
    for line in sql.lines().skip(first_line - 1) {
        let Some(rest) = line.trim_start().strip_prefix(HEADER) else { break };
        toml.push_str(rest);
        toml.push('\n');
        lines += 1;
    }
    (toml, first_line + lines)
}
