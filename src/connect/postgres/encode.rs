//! Single values as text that the server casts to a column's type.

use chrono_tz::Tz;

use super::catalog::{Column, Kind};
use crate::connect::instant::{instant_text, local_text, to_local};
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
        (scalar, _) => match scalar_json(&scalar, scale_of(&data_type)) {
            serde_json::Value::String(text) => Ok(text),
            other => Ok(other.to_string()),
        },
    }
}
