//! Single values as text that the server casts to a column's type.

use chrono_tz::Tz;

use super::catalog::{Column, Kind};
use crate::connect::instant::{date_text, instant_text, local_text, to_local};
use crate::connect::value::{Scalar, scalar_json, scalar_of, scale_of};

/// The text of a canonical JSON value that the server casts to the column's type, or why the column cannot hold it without loss.
pub(super) fn encode(value: &serde_json::Value, column: &Column, kind: Kind, zone: Option<Tz>) -> Result<String, String> {
    let data_type = kind.data_type();
    let misfit = || format!("{value} does not fit type {}", column.type_name);
    match (scalar_of(value, &data_type).ok_or_else(misfit)?, kind) {
        (_, Kind::Json) => Err("arrays cannot be written".into()),
        (Scalar::Double(double), Kind::Float4) if f64::from(double as f32) != double && !double.is_nan() => Err(misfit()),
        (Scalar::Double(double), _) if !double.is_finite() => Ok(double.to_string().replace("inf", "Infinity")),
        (Scalar::Instant(micros), _) if micros % 10_i64.pow(6 - column.fraction_digits) != 0 => Err(misfit()),
        (Scalar::Instant(micros), Kind::Timestamp) => {
            let zone = zone.ok_or_else(misfit)?;
            to_local(micros, zone).map(|local| local_text(local, ' ', 0)).ok_or_else(|| {
                let instant = instant_text(micros).unwrap_or_else(|| micros.to_string());
                format!("{instant} has no local time of its own in {zone}: the clocks show it twice")
            })
        }
        (Scalar::Date(days), _) => date_text(days).map(dated).ok_or_else(misfit),
        (Scalar::Instant(micros), _) => instant_text(micros).map(dated).ok_or_else(misfit),
        (scalar, _) => match scalar_json(&scalar, scale_of(&data_type)) {
            serde_json::Value::String(text) => Ok(text),
            other => Ok(other.to_string()),
        },
    }
}

/// ISO text of a date or instant as the server reads it: the year before 1 is 1 BC (`-0043` is `0044 BC`), and none has a plus.
pub(super) fn dated(text: String) -> String {
    let (before_zero, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.trim_start_matches('+')),
    };
    match unsigned.split_once('-').map(|(year, rest)| (year.parse::<u32>(), rest)) {
        Some((Ok(year), rest)) if before_zero || year == 0 => format!("{:04}-{rest} BC", year + 1),
        _ => unsigned.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_written_as_the_server_reads_them() {
        let cases = [
            ("2026-07-01", "2026-07-01"),
            ("-0043-03-15", "0044-03-15 BC"),
            ("0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z BC"),
            ("+12026-07-01T10:00:00Z", "12026-07-01T10:00:00Z"),
        ];
        for (iso, server) in cases {
            assert_eq!(dated(iso.into()), server);
        }
    }
}
