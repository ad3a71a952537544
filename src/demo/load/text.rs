//! Cells as text, the same for both databases.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use chrono_tz::Europe::Berlin;

use super::super::calendar::instant;
use super::super::sim::date;
use super::{Kind, Value};

/// Appends the text of `value` in a column of `kind`. Milliseconds are only written where `fine`: in columns that tell when a row changed.
pub fn push(out: &mut String, value: &Value<'_>, kind: Kind, fine: bool) {
    let _infallible = match value {
        Value::Null => Ok(()),
        Value::Text(text) => out.write_str(text),
        Value::Int(number) => write!(out, "{number}"),
        Value::Dec(unscaled, scale) => return push_decimal(out, *unscaled, *scale),
        Value::Day(day) => {
            let day = date(*day);
            write!(out, "{:04}-{:02}-{:02}", day.year(), day.month(), day.day())
        }
        Value::At(at) if kind == Kind::Local => {
            let local = instant(*at).with_timezone(&Berlin).naive_local();
            push_time(out, local, ' ');
            out.write_str(if fine { ".000" } else { "" })
        }
        Value::At(at) => {
            push_time(out, instant(*at).naive_utc(), 'T');
            out.write_str(if fine { ".000Z" } else { "Z" })
        }
    };
}

fn push_time(out: &mut String, time: NaiveDateTime, separator: char) {
    let (year, month, day) = (time.year(), time.month(), time.day());
    let _infallible =
        write!(out, "{year:04}-{month:02}-{day:02}{separator}{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
}

fn push_decimal(out: &mut String, unscaled: i64, scale: u8) {
    let divisor = 10i64.pow(u32::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    let (whole, rest) = (unscaled.unsigned_abs() / divisor.unsigned_abs(), unscaled.unsigned_abs() % divisor.unsigned_abs());
    let _infallible = match scale {
        0 => write!(out, "{sign}{whole}"),
        _ => write!(out, "{sign}{whole}.{rest:0width$}", width = usize::from(scale)),
    };
}

/// An instant in UTC and as the wall shows it, in the form of stamp columns.
pub fn clock_texts(now: DateTime<chrono::Utc>) -> (String, String) {
    let (mut utc, mut local) = (String::new(), String::new());
    push(&mut utc, &Value::At(now.timestamp()), Kind::Zoned, true);
    push(&mut local, &Value::At(now.timestamp()), Kind::Local, true);
    (utc, local)
}
