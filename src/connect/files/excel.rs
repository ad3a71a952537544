//! Workbooks of Excel and its kin (xlsx, xlsb, xls, ods): one sheet is a table whose first row that is not empty names the columns.
//!
//! A number is what a sheet shows: its first 15 digits, which is what Excel itself keeps of one that is typed in; `5`, not `5.0`. A date is
//! `2026-11-23`, an instant `2026-11-23 05:00:00`, a time `05:00:00`. A value in a column without a name is an error, and so is `#N/A`.

use std::borrow::Cow;
use std::io::Cursor;

use bytes::Bytes;
use calamine::{Data, DataRef, ExcelDateTime, Reader, Sheets, open_workbook_auto_from_rs};

use super::place::Pinned;
use super::rows::{Cell, Rows, Sender, columns_of};
use crate::connect::ConnectError;
use crate::project::Files;

/// Bytes of one workbook, at most: it is unpacked in memory, to several times its size.
pub(super) const WORKBOOK_BYTES_MAX: u64 = 64 << 20;

/// The day after the last one that Excel knows (9999-12-31), as its serial number.
const SERIAL_END: f64 = 2_958_466.0;
/// 1900-02-29, which never was.
const SERIAL_NO_DAY: f64 = 60.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// A cell of the current row: its column in the sheet, and its value.
type SheetCell<'a> = (u32, Cell<'a>);

/// Whether to go on with the next row.
type GoOn = Result<bool, ConnectError>;

/// Calls `take` with each row that is not empty, and its number in the sheet from 1, until `take` says stop.
fn each_row(
    bytes: Bytes,
    sheet: Option<&str>,
    file: &Pinned,
    mut take: impl FnMut(u64, &[SheetCell<'_>]) -> GoOn,
) -> Result<(), ConnectError> {
    let unreadable =
        |what: String| file.wrong(None, what, "check that it is a workbook (xlsx, xlsb, xls, ods) without a password");
    let mut book =
        open_workbook_auto_from_rs(Cursor::new(bytes)).map_err(|error| unreadable(format!("it cannot be read: {error}")))?;
    let names = book.sheet_names();
    let known = names.join("\", \"");
    let name = match sheet {
        Some(wanted) => names.into_iter().find(|name| name == wanted),
        None => names.into_iter().next(),
    };
    let Some(name) = name else {
        let what = format!("it has no sheet \"{}\"", sheet.unwrap_or_default());
        return Err(file.wrong(None, what, format!("its sheets are \"{known}\"; correct `sheet` in connector.toml")));
    };
    let broken = |error: &dyn std::fmt::Display| unreadable(format!("sheet \"{name}\" cannot be read: {error}"));
    // The newer formats are read cell by cell: a single cell far out does not make a large table of them.
    macro_rules! each_cell {
        ($book:expr) => {{
            let mut cells = $book.worksheet_cells_reader(&name).map_err(|error| broken(&error))?;
            let mut row = RowOfCells::default();
            while let Some(found) = cells.next_cell().map_err(|error| broken(&error))? {
                let at = found.get_position();
                if at.0 != row.number && !row.hand_on(&mut take)? {
                    return Ok(());
                }
                row.push(at, cell(found.get_value().clone()));
            }
            row.hand_on(&mut take).map(drop)
        }};
    }
    match &mut book {
        Sheets::Xlsx(book) => each_cell!(book),
        Sheets::Xlsb(book) => each_cell!(book),
        book => {
            let range = book.worksheet_range(&name).map_err(|error| broken(&error))?;
            let start = range.start().unwrap_or_default();
            for (number, cells) in (start.0..).zip(range.rows()) {
                let mut row = RowOfCells { number, cells: Vec::new() };
                for (column, data) in (start.1..).zip(cells) {
                    row.push((number, column), cell(by_reference(data)));
                }
                if !row.hand_on(&mut take)? {
                    return Ok(());
                }
            }
            Ok(())
        }
    }
}

#[derive(Default)]
struct RowOfCells<'a> {
    /// From 0.
    number: u32,
    cells: Vec<SheetCell<'a>>,
}

impl<'a> RowOfCells<'a> {
    fn push(&mut self, at: (u32, u32), cell: Cell<'a>) {
        self.number = at.0;
        if cell != Cell::Null {
            self.cells.push((at.1, cell));
        }
    }

    fn hand_on(&mut self, take: &mut impl FnMut(u64, &[SheetCell<'_>]) -> GoOn) -> GoOn {
        let go_on = self.cells.is_empty() || take(u64::from(self.number) + 1, &self.cells)?;
        self.cells.clear();
        Ok(go_on)
    }
}

fn by_reference(data: &Data) -> DataRef<'_> {
    match data {
        Data::Int(value) => DataRef::Int(*value),
        Data::Float(value) => DataRef::Float(*value),
        Data::String(text) => DataRef::SharedString(text),
        Data::Bool(value) => DataRef::Bool(*value),
        Data::DateTime(value) => DataRef::DateTime(*value),
        Data::DateTimeIso(text) => DataRef::DateTimeIso(text.clone()),
        Data::DurationIso(text) => DataRef::DurationIso(text.clone()),
        Data::Error(error) => DataRef::Error(error.clone()),
        Data::Empty => DataRef::Empty,
    }
}

fn cell(data: DataRef<'_>) -> Cell<'_> {
    let text: Cow<'_, str> = match data {
        DataRef::Empty => return Cell::Null,
        DataRef::Error(error) => return Cell::Bad(format!("the cell holds {error}").into()),
        DataRef::DateTime(value) => {
            return date_text(value)
                .map_or(Cell::Bad("the cell holds no day that ever was".into()), |text| Cell::Text(text.into()));
        }
        DataRef::Int(value) => value.to_string().into(),
        DataRef::Float(value) => number_text(value).into(),
        DataRef::String(text) => text.into(),
        DataRef::SharedString(text) => text.into(),
        DataRef::Bool(value) => value.to_string().into(),
        DataRef::DateTimeIso(text) => text.replacen('T', " ", 1).trim_end_matches(" 00:00:00").to_owned().into(),
        DataRef::DurationIso(text) => text.into(),
    };
    if text.is_empty() { Cell::Null } else { Cell::Text(text) }
}

/// The 15 digits that a sheet shows at most.
fn number_text(value: f64) -> String {
    let shown: f64 = format!("{value:.14e}").parse().unwrap_or(value);
    (shown + 0.0).to_string() // no minus zero
}

fn date_text(value: ExcelDateTime) -> Option<String> {
    let serial = value.as_f64();
    if value.is_duration() {
        let seconds = (serial * SECONDS_PER_DAY).round();
        let sign = if seconds < 0.0 { "-" } else { "" };
        let seconds = seconds.abs() as u64;
        return Some(format!("{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
    }
    if !(0.0..SERIAL_END).contains(&serial) || serial.floor() == SERIAL_NO_DAY {
        return None;
    }
    let (year, month, day, hour, minute, second, milli) = value.to_ymd_hms_milli();
    let fraction = if milli == 0 { String::new() } else { format!(".{milli:03}") };
    let time = format!("{hour:02}:{minute:02}:{second:02}{fraction}");
    let date = format!("{year:04}-{month:02}-{day:02}");
    Some(match (serial < 1.0, time == "00:00:00") {
        (true, _) => time,
        (false, true) => date,
        (false, false) => format!("{date} {time}"),
    })
}

/// The columns of a sheet: name, and position in the sheet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header(Vec<(String, u32)>);

impl Header {
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }
}

/// Finds the names of the columns; none in an empty sheet.
pub(super) fn header(bytes: Bytes, files: &Files, file: &Pinned) -> Result<Header, ConnectError> {
    let mut header = Header::default();
    each_row(bytes, files.sheet.as_deref(), file, |line, cells| {
        let named = |(_, cell): &SheetCell<'_>| match cell {
            Cell::Text(text) if files.has_header => text.trim().to_owned(),
            _ => String::new(),
        };
        // Without names, the first row says how wide the table is.
        let width = cells.last().map_or(0, |(column, _)| column + 1);
        let columns: Vec<u32> = match files.has_header {
            true => cells.iter().map(|(column, _)| *column).collect(),
            false => (0..width).collect(),
        };
        let texts = columns.iter().map(|column| cells.iter().find(|(at, _)| at == column).map_or_else(String::new, named));
        header = Header(columns_of(texts, line, file)?.into_iter().zip(columns.iter().copied()).collect());
        Ok(false)
    })?;
    Ok(header)
}

/// Decodes one workbook, on a thread that may block. `false` if nobody reads the rows any more.
pub(super) fn decode(bytes: Bytes, files: &Files, header: &Header, file: &Pinned, rows: &mut Rows, sender: &Sender) -> GoOn {
    // Column of the sheet → column of the reading; `None` for one that is excluded.
    let positions: Vec<(u32, Option<usize>)> =
        header.0.iter().map(|(name, column)| (*column, rows.columns().names().position(|known| known == name))).collect();
    let width = rows.columns().names().count();
    let mut in_header = files.has_header;
    let mut is_read = true;
    each_row(bytes, files.sheet.as_deref(), file, |line, cells| {
        if std::mem::take(&mut in_header) {
            return Ok(true);
        }
        let mut values: Vec<Cell<'_>> = vec![Cell::Null; width];
        for (column, cell) in cells {
            match positions.binary_search_by_key(column, |(column, _)| *column) {
                Ok(found) => positions[found].1.into_iter().for_each(|position| values[position] = cell.clone()),
                Err(_) => {
                    let what = format!("column {} has a value here and no name", letters(*column));
                    return Err(file.wrong(Some(line), what, "name the column in the first row, or remove the value"));
                }
            }
        }
        rows.row(file, line, |column| std::mem::replace(&mut values[column], Cell::Null))?;
        is_read = rows.send_blocking(sender);
        Ok(is_read)
    })?;
    Ok(is_read)
}

/// A column as a sheet names it: A, …, Z, AA, ….
fn letters(column: u32) -> String {
    let (before, letter) = (column / 26, char::from(b'A' + (column % 26) as u8));
    if before == 0 { letter.into() } else { format!("{}{letter}", letters(before - 1)) }
}

#[cfg(test)]
mod tests {
    use calamine::ExcelDateTimeType;

    use super::*;

    #[test]
    fn numbers_and_dates_are_what_a_sheet_shows() {
        let numbers = [
            (5.0, "5"),
            (0.1 + 0.2, "0.3"),
            (-0.0, "0"),
            (1.10, "1.1"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-7, "0.0000001"),
        ];
        for (value, text) in numbers {
            assert_eq!(number_text(value), text);
        }
        let date = |value, kind| date_text(ExcelDateTime::new(value, kind, false));
        let day = |value| date(value, ExcelDateTimeType::DateTime);
        assert_eq!(day(45_943.0).unwrap(), "2025-10-13");
        assert_eq!(day(45_943.541).unwrap(), "2025-10-13 12:59:02.400");
        assert_eq!(day(0.25).unwrap(), "06:00:00");
        assert_eq!((day(60.0), day(-1.0), day(3e6)), (None, None, None));
        assert_eq!(date(1.5, ExcelDateTimeType::TimeDelta).unwrap(), "36:00:00");
        assert_eq!([0, 25, 26, 701, 702].map(letters), ["A", "Z", "AA", "ZZ", "AAA"]);
    }
}
